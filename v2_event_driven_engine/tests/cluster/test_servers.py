"""The servers' configuration, on real servers: what it protects, and what it makes durable."""

import asyncio
import gc
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("nats", reason="the extra `cluster` is not installed")

from nats.aio.msg import Msg
from nats.js.errors import APIError, KeyNotFoundError

from v2_event_driven_engine import LogUnavailable
from v2_event_driven_engine.cluster import jetstream, service
from v2_event_driven_engine.cluster.connect import statuses
from v2_event_driven_engine.cluster.jetstream import (
    BUSY,
    Connection,
    JetStreamLease,
    JetStreamStream,
    Security,
    ensure_stream,
)
from v2_event_driven_engine.cluster.node import Delivered
from v2_event_driven_engine.cluster.protocol import Status
from v2_event_driven_engine.cluster.servers import Certificates, Servers
from v2_event_driven_engine.cluster.stream import Attempt, SystemClock, append
from v2_event_driven_engine.errors import StoreError

from .real_servers import connection, new_stream, real_servers, servers

pytestmark = real_servers


def openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, and one certificate for all machines and clients."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    here = tmp_path_factory.mktemp("certificates")
    subject = ["-subj", "/CN=localhost"]
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl(
        here, "req", "-x509", *ec, *subject, "-days", "2", "-keyout", "ca.key", "-out", "ca.pem",
        "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    openssl(here, "req", *ec, *subject, "-keyout", "m.key", "-out", "m.csr")
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost\nauthorityKeyIdentifier=keyid\n"
    (here / "names").write_text(names, encoding="utf-8")
    openssl(
        here, "x509", "-req", "-in", "m.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
        "-CAcreateserial", "-extfile", "names", "-out", "m.pem",
    )  # fmt: skip
    return Certificates(str(here / "ca.pem"), str(here / "m.pem"), str(here / "m.key"))


@pytest.fixture(scope="module")
def protected(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    servers = Servers(
        tmp_path_factory.mktemp("protected"), certificates=certificates,
        user="engine", password="s3cret",
    )  # fmt: skip
    try:
        servers.start_all()
        yield servers
    finally:
        servers.stop_all()


def test_with_certificate_and_password_the_streams_are_there(
    protected: Servers, certificates: Certificates
) -> None:
    security = Security(*certificates, user="engine", password="s3cret")
    one = Connection(protected.urls, security=security)
    ensure_stream(one, "LOG_0", "log.0")
    append(JetStreamStream(one, "LOG_0", "log.0"), [b"x"], 1, SystemClock())
    one.close()


# On Python 3.11 a TLS handshake that failed leaves a socket to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed")
@pytest.mark.parametrize("missing", ["certificate", "password", "everything"])
def test_without_them_nobody_is_let_in(
    protected: Servers,
    certificates: Certificates,
    missing: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jetstream, "CONNECT_SECONDS", 2.0)
    security = {
        "certificate": Security(ca=certificates.ca, user="engine", password="s3cret"),
        "password": Security(*certificates, user="engine", password="wrong"),
        "everything": Security(),
    }[missing]
    with pytest.raises(LogUnavailable, match="no server lets us in"):
        Connection(protected.urls, security=security)
    gc.collect()


def test_a_server_that_takes_small_messages_only_is_refused(tmp_path: Path) -> None:
    servers = Servers(tmp_path, 1)
    (configuration,) = tmp_path.glob("*.conf")
    text = configuration.read_text(encoding="utf-8").replace("max_payload: 8MB", "max_payload: 1MB")
    configuration.write_text(text, encoding="utf-8")
    try:
        servers.start_all()
        with pytest.raises(StoreError, match=r"1048576 bytes .* set `max_payload: 8MB`"):
            Connection(servers.urls)
    finally:
        servers.stop_all()


def test_a_stream_takes_a_message_only_where_it_is_expected() -> None:
    stream = new_stream(3)
    append(stream, [b"1", b"2", b"3"], 1, SystemClock())
    assert stream.attempt([b"2", b"3"], 2) is Attempt.REFUSED
    assert stream.attempt([b"5", b"6"], 5) is Attempt.REFUSED
    assert (stream.last(), stream.get(3), stream.get(4), stream.get(0)) == (3, b"3", None, None)
    read: list[bytes] = []
    while len(read) < 3:
        read += stream.after(len(read), 1.0)
    assert read == [b"1", b"2", b"3"]
    stream.close()


def test_a_reader_goes_on_when_its_consumer_is_gone() -> None:
    stream = new_stream(1)
    append(stream, [b"1"], 1, SystemClock())
    assert list(stream.after(0, 5.0)) == [b"1"]
    one = connection(1)
    (consumer,) = one.call(one.streams.consumers_info(stream.name))
    one.call(one.streams.delete_consumer(stream.name, consumer.name))
    append(stream, [b"2", b"3"], 2, SystemClock())
    read: list[bytes] = []
    while len(read) < 2:
        read += stream.after(1 + len(read), 1.0)
    assert read == [b"2", b"3"]
    stream.close()


@pytest.mark.parametrize("lost", [{3}, {2, 3}, {1, 2, 3}], ids=["one", "two", "all"])
def test_messages_that_are_lost_on_their_way_are_read_though_none_comes_after_them(
    lost: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a reader changes the server: heartbeats come, and say how far it should be."""
    stream = new_stream(1)
    clock = SystemClock()
    take_in = jetstream._Feed._take_in

    async def take_in_unless_lost(feed: jetstream._Feed, message: Msg) -> None:
        is_status = "Status" in (message.headers or {})
        if not is_status and message.metadata.sequence.stream in lost:
            lost.remove(message.metadata.sequence.stream)
            return
        await take_in(feed, message)

    monkeypatch.setattr(jetstream._Feed, "_take_in", take_in_unless_lost)
    append(stream, [b"1", b"2", b"3"], 1, clock)
    read: list[bytes] = []
    give_up = clock.monotonic() + 10
    while len(read) < 3 and clock.monotonic() < give_up:
        read += stream.after(len(read), 0.1)
    assert read == [b"1", b"2", b"3"]
    assert lost == set()
    stream.close()


def test_a_copy_that_is_distrusted_is_read_no_more_and_its_server_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = new_stream(3)
    messages = [b"%d" % number for number in range(40)]
    append(stream, messages, 1, SystemClock())
    read: list[bytes] = []
    while len(read) < 40:
        read += stream.after(len(read), 1.0)[:3]
        stream.distrust()
        stream.distrust()
    assert read == messages
    named = {f"s{number}" for number in range(3) if f"server s{number} has" in caplog.text}
    assert len(caplog.messages) == len(named) > 0, "once for each"
    stream.close()


def test_more_than_is_fetched_at_a_time_is_read_in_order() -> None:
    stream = new_stream(1)
    messages = [b"%d" % number + b"." * 1000 for number in range(1500)]
    for at in range(0, 1500, 100):
        append(stream, messages[at : at + 100], at + 1, SystemClock())
    read: list[bytes] = []
    while len(read) < 1500:
        read += stream.after(len(read), 1.0)
    assert read == messages
    stream.close()


def test_nothing_that_was_stored_can_be_deleted() -> None:
    stream = new_stream(1)
    append(stream, [b"1"], 1, SystemClock())
    one = connection(1)
    for attempt in (one.streams.delete_msg(stream.name, 1), one.streams.purge_stream(stream.name)):
        with pytest.raises(APIError):
            one.call(attempt)
    assert stream.get(1) == b"1"


def test_a_stream_of_the_same_name_that_is_another_one_is_refused() -> None:
    stream = new_stream(1)
    with pytest.raises(StoreError, match=f"{stream.name}: the servers refuse it"):
        ensure_stream(connection(1), stream.name, "another", 1)


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def wait_until(lease: JetStreamLease, held: bool = True) -> None:
    wait_for(lambda: lease.hold() is held)


def test_a_lease_is_held_by_one_at_a_time_and_passes_on_when_it_is_given_back_or_expires() -> None:
    first = JetStreamLease(connection(1), 0, "a", 1)
    wait_until(first)
    second = JetStreamLease(connection(1), 0, "b", 1)
    give_up = time.monotonic() + 2 * jetstream.LEASE_SECONDS
    while time.monotonic() < give_up:  # also after what it waits for at its start
        assert not (second.hold() and first.hold())
        time.sleep(0.01)
    holder, other = (second, first) if second.hold() else (first, second)  # it may be slow here
    holder.release()
    wait_until(other)
    other._work.cancel()  # as if its process had ended
    wait_until(holder)
    assert not other.hold()


def test_a_lease_goes_from_one_that_asks_no_more_to_one_that_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A standby that is busy with something else would keep the others from their work."""
    monkeypatch.setattr(jetstream, "WANTED_SECONDS", 2 * jetstream.LEASE_SECONDS)
    busy = JetStreamLease(connection(1), 12, "a", 1)
    busy.hold()
    wait_for(lambda: busy._revision > 0)  # the loop has got it, and nobody looked
    wait_until(JetStreamLease(connection(1), 12, "b", 1))


def test_a_lease_that_is_used_is_kept_however_long_nobody_asks() -> None:
    active = JetStreamLease(connection(1), 13, "a", 1)
    wait_until(active)
    other = JetStreamLease(connection(1), 13, "b", 1)
    give_up = time.monotonic() + 3 * jetstream.LEASE_SECONDS
    while time.monotonic() < give_up:
        assert not other.hold()
        time.sleep(0.01)
    assert active.hold()


def test_a_lease_that_was_taken_away_is_not_held() -> None:
    lease = JetStreamLease(connection(1), 1, "a", 1)
    wait_until(lease)
    one = connection(1)
    one.call(lease._bucket.put("1", b"somebody"))
    wait_until(lease, False)
    wait_until(lease)  # the other one does not renew it
    lease.release()


class LateAnswers:
    """A bucket whose servers do at once what they are told, and say so when they may."""

    def __init__(self, lease: JetStreamLease) -> None:
        self._lease, self._bucket = lease, lease._bucket
        self.written = threading.Event()
        self.may_answer = asyncio.Event()

    async def update(self, *arguments: Any) -> int:
        return await self._late(self._bucket.update(*arguments))

    async def create(self, *arguments: Any) -> int:
        return await self._late(self._bucket.create(*arguments))

    async def delete(self, *arguments: Any) -> bool:
        return await self._bucket.delete(*arguments)

    async def _late(self, writing: Awaitable[int]) -> int:
        revision = await writing
        self.written.set()
        await self.may_answer.wait()
        return revision


@pytest.mark.parametrize("how", ["taken", "renewed"])
def test_a_lease_is_given_back_that_is_just_being_written(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next one waits until it has expired."""
    monkeypatch.setattr(jetstream, "WANTED_SECONDS", 30.0)
    one = connection(1)
    key = 10 if how == "taken" else 11
    lease = JetStreamLease(one, key, "a", 1)
    if how == "renewed":
        wait_until(lease)
    bucket: Any = LateAnswers(lease)
    lease._bucket, real = bucket, lease._bucket
    lease.hold()
    assert bucket.written.wait(30)
    releasing = threading.Thread(target=lease.release)
    releasing.start()
    wait_for(lambda: not lease._wanted_until)
    one.loop.call_soon_threadsafe(bucket.may_answer.set)
    releasing.join()
    with pytest.raises(KeyNotFoundError):
        one.call(real.get(str(key)))
    assert not lease._until


def test_a_frozen_server_is_connected_to_again_and_no_socket_is_left(tmp_path: Path) -> None:
    frozen = Servers(tmp_path, 1)
    try:
        frozen.start_all()
        one = Connection(frozen.urls)
        frozen.signal(0, signal.SIGSTOP)
        wait_for(lambda: one.client._server_pool[0].reconnects >= 2)
        frozen.signal(0, signal.SIGCONT)
        wait_for(lambda: one.client.is_connected)
        gc.collect()
        one.close()
    finally:
        frozen.stop_all()


def test_subscriptions_end_soon_though_the_server_is_frozen(tmp_path: Path) -> None:
    frozen = Servers(tmp_path, 1)
    try:
        frozen.start_all()
        one = Connection(frozen.urls)
        subscriptions = [one.subscribe(f"evt.{n}", lambda _: None) for n in range(8)]
        frozen.signal(0, signal.SIGSTOP)
        began = time.monotonic()
        one.end(*subscriptions)
        assert time.monotonic() - began < 5, "sooner than the client of NATS gives up"
        frozen.signal(0, signal.SIGCONT)
        one.close()
    finally:
        frozen.stop_all()


def test_a_connection_that_the_server_ends_for_good_says_so() -> None:
    one = Connection(servers(1).urls)
    said: queue.Queue[str] = queue.Queue()
    one.lost = said.put
    one.call(one.client._process_err("'maximum something exceeded'"))
    assert said.get(timeout=20) == "nats: maximum something exceeded"
    one.close()


def test_what_is_no_status_is_no_answer_to_the_question_for_it() -> None:
    one = connection(1)
    said = Status("a", 7, 1, "active", 1, 5, 3, 0, 2, "5a", "5b", 1)

    def heard(question: Delivered) -> None:
        one.send([(question.reply_to, each) for each in (BUSY, msgspec.json.encode(said))])

    subscription = one.subscribe("status.7", heard)
    assert statuses(one, 7, 20.0, 1) == [said]
    one.end(subscription)


def test_who_waits_while_the_connection_is_closed_is_told() -> None:
    one = Connection(servers(1).urls)
    waiting = threading.Event()
    said: queue.Queue[str] = queue.Queue()

    async def unanswered() -> None:
        waiting.set()
        await asyncio.sleep(60)

    def wait() -> None:
        try:
            one.call(unanswered())
        except LogUnavailable as error:
            said.put(str(error))

    threading.Thread(target=wait, daemon=True).start()
    assert waiting.wait(20)
    one.close()
    assert said.get(timeout=20) == "the connection was closed"
    with pytest.raises(LogUnavailable, match="the connection is closed"):
        one.call(unanswered())
    one.send([("nobody", b"")])


def test_what_is_begun_while_the_connection_ends_is_not_waited_for_for_ever() -> None:
    one = Connection(servers(1).urls)
    waits = threading.Event()
    begun: list[Future[None]] = []

    async def begins_again() -> None:
        waits.set()
        try:
            await asyncio.sleep(60)
        finally:
            with suppress(LogUnavailable):
                begun.append(one.begin(asyncio.sleep(60)))

    begun.append(one.begin(begins_again()))
    assert waits.wait(20)
    one.close()
    assert all(each.done() for each in begun)


def test_an_end_that_a_signal_interrupts_leaves_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    one = Connection(servers(1).urls)
    close = one.client.close

    async def slow() -> None:
        await close()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        await asyncio.sleep(60)

    monkeypatch.setattr(one.client, "close", slow)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        with pytest.raises(Alarm):
            one.close()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert one.loop.is_closed()


def test_an_end_waits_for_what_is_begun_by_what_ends() -> None:
    """As a client that is just connecting again does."""
    one = Connection(servers(1).urls)
    waits, ended = threading.Event(), threading.Event()

    async def waits_for_ever() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def begins_another() -> None:
        waits.set()
        try:
            await asyncio.sleep(60)
        finally:
            one.loop.create_task(waits_for_ever())

    one.begin(begins_another())
    assert waits.wait(20)
    one.close()
    assert ended.is_set(), "or it is destroyed, with a complaint, when the program ends"


@pytest.mark.parametrize("publishes", [False, True], ids=["nothing to publish", "it publishes"])
def test_a_planned_stop_is_no_failure_of_the_publisher(
    publishes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it has nothing to do, or waits for an answer when the connection is closed."""
    publishing: queue.Queue[threading.Thread] = queue.Queue()
    failures: list[BaseException] = []

    def publish(*_: Any) -> bool:
        publishing.put(threading.current_thread())
        if publishes:
            node._connection.call(asyncio.sleep(60))
        return False

    monkeypatch.setattr(service, "publish", publish)
    monkeypatch.setattr(service.Service, "_fail", lambda _, error: failures.append(error))
    own = Servers(tmp_path, 1)
    try:
        own.start_all()
        node = service.Service(own.urls, 0, "a", replicas=1)
        life = threading.Thread(target=node.run)
        life.start()
        publisher = publishing.get(timeout=20)
        node.stop()
        life.join()
        assert publishes or not publisher.is_alive(), "it ends before the connection does"
        publisher.join(20)
        assert (failures, publisher.is_alive()) == ([], False)
    finally:
        own.stop_all()
