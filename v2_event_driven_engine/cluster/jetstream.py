"""Streams, the lease and the network, as NATS JetStream has them. The only module that knows NATS.

The client of NATS is asyncio, a node is one blocking thread: they meet in `Connection`, which keeps
the event loop in a thread of its own. In the loop nothing waits for long and nothing is cancelled
half-way; each piece of work has its own timeout, and what does not come is simply said so.
"""

import asyncio
import json
import logging
import ssl
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error, MaxPayloadError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    KeyValueConfig,
    StorageType,
    StreamConfig,
)
from nats.js.errors import APIError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from ..errors import LogUnavailable, StoreError
from . import protocol
from .node import Delivered, Lease, Network, Replies
from .servers import check_urls, without_password
from .stream import Attempt, Stream

T = TypeVar("T")
_warn = logging.getLogger(__name__).warning

PAYLOAD_BYTES = 8 * 1024 * 1024
"""What a server must take in one message; `servers.py` configures it."""
CONNECT_SECONDS = 10.0
ATTEMPT_SECONDS = 0.5
"""How long the answer to one append is waited for."""
QUESTION_SECONDS = 1.0
"""How long the answer of a stream's leader to a question is waited for."""
SWITCH_SECONDS = 2.0
"""How long a server may leave questions unanswered before another one is asked."""
SET_UP_SECONDS = 30.0
END_SECONDS = 1.0
"""How long the end of a subscription, or of a connection, waits for what is on its way."""
EXPECTED_LAST = "Nats-Expected-Last-Sequence"
WRONG_LAST_SEQUENCE = (10071, 10164)
NO_SUCH_MESSAGE = 10037
OTHER_CONFIGURATION = (10058, 10065)
"""There is a stream of this name, or with this subject, and it is another one."""
PASSING = (TimeoutError, OSError, Error)
"""What says that something did not work now; not that it never will. Of `nats`, and of sockets."""

PULL_MESSAGES = 256
PULL_BYTES = 16 * 1024 * 1024
"""Of messages that a reader asks for at a time."""
PULL_SECONDS = 30.0
HEARTBEAT_SECONDS = 0.2
SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS
"""A reader that has not even heard a heartbeat for so long has lost its server."""

LEASE_BUCKET = "LEASE"
LEASE_SECONDS = 1.0
RENEW_SECONDS = 0.3
BID_SECONDS = 0.05
WANTED_SECONDS = 0.5
"""Who has not asked for so long does not want the lease, unless it relies on it already."""
BID = b"bid by "
"""Begins the value of a key that is to be taken; a renewal has no such beginning."""

WITHOUT_HASHES = b"without hashes"
"""What to send to `status` for an answer that takes no time."""
QUEUED_MESSAGES_MAX = 4096
QUEUED_BYTES_MAX = 64 * 1024 * 1024
"""Of messages that wait for the node; more are answered with `Busy`."""
QUEUED_STATUS_MAX = 256
"""Questions about the status, or bytes of them, that may wait above that: who is busy says how it
is. More are not answered; `Busy` is no status."""


class Security(NamedTuple):
    """How a connection is protected; empty where nothing is."""

    ca: str = ""
    """The file of the authority that signed the servers' certificates."""
    certificate: str = ""
    key: str = ""
    credentials: str = ""
    """A file of credentials, as the tool of NATS writes it."""
    user: str = ""
    password: str = ""

    def options(self) -> dict[str, Any]:
        """The same, as the client of NATS wants it.

        Raises:
            OSError: a file cannot be read (also where it is not what it should be).
            StoreError: what reads a file of credentials is not installed.
        """
        options: dict[str, Any] = {}
        if self.ca or self.certificate:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None)
            options["tls"] = context
        if self.credentials:
            if find_spec("nkeys") is None:
                raise StoreError("a file of credentials needs more: pip install 'nats-py[nkeys]'")
            with Path(self.credentials).open("rb"):  # the client of NATS looks at it much later
                options["user_credentials"] = self.credentials
        if self.user:
            options.update(user=self.user, password=self.password)
        return options


OPEN = Security()


class _Client(Client):
    """The client of NATS, which otherwise forgets the socket of an attempt to connect that failed.

    The garbage collector then closes it, in any thread, with a message on standard error.
    """

    async def _connect_to_server(self, server: Any) -> None:
        if self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]
        await super()._connect_to_server(server)


class Connection:
    """A connection to the servers, for blocking code. It reconnects for ever.

    Every method may be called from any thread but the loop's.
    """

    def __init__(self, urls: Sequence[str], *, name: str = "", security: Security = OPEN) -> None:
        """Connect to any of the servers.

        Raises:
            MalformedCommand: these are not addresses of servers.
            LogUnavailable: none of them let us in within `CONNECT_SECONDS`; the text says why.
            StoreError: their configuration does not fit.
            OSError: a file of `security` cannot be read.
        """
        check_urls(urls)
        shown = ", ".join(map(without_password, urls))
        self._problem = ""
        self._heard = 0.0
        """When something was answered, or another server was asked."""
        self._closing = False
        self._ended = False
        """Nothing more is begun: the loop is about to stop."""
        self._beginning = threading.Lock()
        self.lost: Callable[[str], None] = lambda _: None
        """Called, in the loop, with the reason, when a server has ended the connection for good."""
        self._subscriptions: list[Subscription] = []
        options = security.options()
        self.loop = asyncio.new_event_loop()
        self.client: Client = _Client()
        self._thread = threading.Thread(target=self._run, name="nats", daemon=True)
        self._thread.start()
        try:
            self._let_in(list(urls), shown, name, options)
        except BaseException:
            self.close()
            raise
        self.streams = self.client.jetstream(timeout=QUESTION_SECONDS)
        self.answered()

    def _let_in(self, urls: list[str], shown: str, name: str, options: dict[str, Any]) -> None:
        connecting = self.begin(self._connect(urls, name, options))
        try:
            connecting.result(CONNECT_SECONDS)
        except PASSING as error:
            problem = self._problem or str(error) or "no answer"
            raise LogUnavailable(f"{shown}: no server lets us in: {problem}") from None
        if self.client.max_payload < PAYLOAD_BYTES:
            raise StoreError(
                f"{shown}: the servers take {self.client.max_payload} bytes a message, and "
                f"{PAYLOAD_BYTES} are needed: set `max_payload: 8MB` in their configuration"
            )

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.run_until_complete(_cancel_the_rest())  # so that nobody waits for it for ever
        self.loop.close()

    async def _connect(self, urls: list[str], name: str, options: dict[str, Any]) -> None:
        again: Any = 0.05  # seconds; the client of NATS says that it is an integer
        await self.client.connect(
            urls, name=name, error_cb=self._note, closed_cb=self._closed, max_reconnect_attempts=-1,
            reconnect_time_wait=again, connect_timeout=1, ping_interval=1, max_outstanding_pings=2,
            pending_size=QUEUED_BYTES_MAX, **options,
        )  # fmt: skip

    async def _note(self, error: Exception) -> None:
        self._problem = str(error) or type(error).__name__

    async def _closed(self) -> None:
        if not self._closing:
            self.lost(str(self.client.last_error or self._problem))

    # -- A server that has lost the others ------------------------------------------------------

    def answered(self) -> None:
        """What was asked through this server has been answered. Any thread."""
        self._heard = self.loop.time()

    def unanswered(self) -> None:
        """What was asked has not been answered: after a while another server is asked. Any thread.

        A server whose network is broken still holds its clients, and can do nothing for them.
        """
        now = self.loop.time()
        if now - self._heard > SWITCH_SECONDS:
            self._heard = now
            self.begin(self._switch())

    async def _switch(self) -> None:
        with suppress(*PASSING):
            await self.client.force_reconnect()

    # -- Threads and the loop -------------------------------------------------------------------

    def begin(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Start some work in the loop.

        Raises:
            LogUnavailable: the connection is closed.
        """
        with self._beginning:
            if not self._ended:
                return asyncio.run_coroutine_threadsafe(work, self.loop)
        work.close()
        raise LogUnavailable("the connection is closed")

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out some work in the loop and wait for it.

        Raises:
            LogUnavailable: the connection is closed, or was while this waited.
            Whatever the work raises.
        """
        try:
            return self.begin(work).result()
        except CancelledError:
            raise LogUnavailable("the connection was closed") from None

    # -- Messages -------------------------------------------------------------------------------

    def send(self, messages: Iterable[tuple[str, bytes]], reply_to: str = "") -> None:
        """Send messages, each to its subject, and do not wait. No promise that they arrive."""
        with suppress(LogUnavailable):
            self.begin(self._send(messages, reply_to))

    async def _send(self, messages: Iterable[tuple[str, bytes]], reply_to: str) -> None:
        for subject, data in messages:
            with suppress(*PASSING):  # whoever misses it asks again
                await self.client.publish(subject, data, reply=reply_to)

    def subscribe(
        self, subject: str, heard: Callable[[Delivered], None], queue: str = ""
    ) -> Subscription:
        """Have `heard` called, in the loop's thread, with what comes; with `queue` one of many.

        It is never called with a message of a server's own ("nobody is there").
        """

        async def take(message: Msg) -> None:
            if not (message.headers and "Status" in message.headers):
                heard(Delivered(message.data, message.reply, message.subject))

        async def subscribe() -> Subscription:
            subscription = await self.client.subscribe(
                subject, queue, take, pending_msgs_limit=-1, pending_bytes_limit=-1
            )
            with suppress(*PASSING):
                await self.client.flush(1)
            return subscription

        return self.call(subscribe())

    def end(self, *subscriptions: Subscription) -> None:
        """Hear no more; what the server has sent already is still heard before this returns.

        Where the server does not answer within `END_SECONDS`, the rest happens behind it.
        """

        async def end() -> None:
            drains = (each.drain() for each in subscriptions)  # type: ignore[no-untyped-call]
            await asyncio.gather(*drains, return_exceptions=True)

        with suppress(TimeoutError, CancelledError, LogUnavailable):
            self.begin(end()).result(END_SECONDS)

    def collect(
        self,
        subject: str,
        data: bytes,
        seconds: float,
        enough: int | None = None,
        wanted: Callable[[bytes], bool] = lambda _: True,
    ) -> list[bytes]:
        """Ask everybody who listens, and give the replies that come in time, or `enough`.

        What is not `wanted` is no reply.
        """
        replies: list[bytes] = []
        complete = threading.Event()

        def heard(reply: Delivered) -> None:
            if wanted(reply.data):
                replies.append(reply.data)
            if len(replies) == enough:
                complete.set()

        inbox = self.client.new_inbox()
        subscription = self.subscribe(inbox, heard)
        self.send([(subject, data)], inbox)
        complete.wait(seconds)
        self.end(subscription)
        return replies

    def leader(self, stream: str) -> str:
        """The server that leads a stream at present; empty if none does, or nobody answers."""
        try:
            info = self.call(self.streams.stream_info(stream))
        except PASSING:
            return ""
        return (info.cluster.leader if info.cluster else "") or ""

    def step_down(self, stream: str) -> None:
        """Have the leader of a stream hand it over to another server, without a pause to speak of.

        Raises:
            LogUnavailable: it did not.
        """
        subject = f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}"
        try:
            self.call(self.client.request(subject, b"", QUESTION_SECONDS))
        except PASSING as error:
            raise LogUnavailable(f"{stream}: its leader does not step down: {error}") from None

    def close(self) -> None:
        """Leave the servers, and end the loop's thread."""
        self._closing = True

        async def leave() -> None:
            with suppress(*PASSING, AssertionError):  # it says that it never connected
                # It waits for a TLS handshake.
                await asyncio.wait_for(self.client.close(), END_SECONDS)

        if self._thread.is_alive():
            try:
                with suppress(TimeoutError, CancelledError, LogUnavailable):
                    self.begin(leave()).result(2.0)
            finally:  # also where a signal ends the waiting: no task is left when the program ends
                with self._beginning:
                    self._ended = True
                    self.loop.call_soon_threadsafe(self.loop.stop)
                self._thread.join()


async def _cancel_the_rest() -> None:
    """Also what a task begins while it is cancelled, as one that connects again does."""
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            while others := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in others:
                    task.cancel()
                await asyncio.wait(others)


# -- Streams ------------------------------------------------------------------------------------


def ensure_stream(connection: Connection, name: str, subject: str, replicas: int = 3) -> None:
    """Make a stream of which nothing is ever deleted, if there is none yet.

    Raises:
        LogUnavailable: the servers could not do so for `SET_UP_SECONDS`.
        StoreError: there is one with another configuration.
    """
    config = StreamConfig(
        name=name, subjects=[subject], num_replicas=replicas, storage=StorageType.FILE,
        deny_delete=True, deny_purge=True, duplicate_window=0.1, max_msg_size=PAYLOAD_BYTES,
    )  # fmt: skip
    connection.call(_set_up(name, partial(connection.streams.add_stream, config)))


async def _set_up(name: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Make something on the servers, which may have only just started."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + SET_UP_SECONDS
    while True:
        try:
            return await make()
        except APIError as error:
            problem = error.description or str(error)
            if error.err_code in OTHER_CONFIGURATION:
                raise StoreError(f"{name}: the servers refuse it: {problem}") from None
        except PASSING as error:
            problem = str(error) or "no answer"
        if loop.time() > give_up:
            raise LogUnavailable(
                f"{name} could not be made for {SET_UP_SECONDS:.0f} s: {problem}: are the servers "
                f"a cluster with JetStream, and is a majority of them running?"
            )
        await asyncio.sleep(0.1)


class JetStreamStream(Stream):
    """A stream on the servers."""

    def __init__(self, connection: Connection, name: str, subject: str) -> None:
        self.name = name
        self.subject = subject
        self._connection = connection
        self._feed: _Feed | None = None
        self._distrusted: set[str] = set()
        """Servers whose damaged copy has been reported."""

    def attempt(self, messages: Sequence[bytes], position: int) -> Attempt:
        found = self._connection.call(self._attempt(messages, position))
        if found is Attempt.UNKNOWN:
            self._connection.unanswered()
        else:
            self._connection.answered()
        return found

    async def _attempt(self, messages: Sequence[bytes], position: int) -> Attempt:
        attempts = map(self._add, messages, range(position, position + len(messages)))
        for found in await asyncio.gather(*attempts):
            if found is not Attempt.STORED:
                return found
        return Attempt.STORED

    async def _add(self, message: bytes, position: int) -> Attempt:
        """Try to add one message.

        Raises:
            StoreError: it was stored, and not where it was expected; or no server can take it.
        """
        try:
            stored = await self._connection.streams.publish(
                self.subject, message, ATTEMPT_SECONDS, headers={EXPECTED_LAST: str(position - 1)}
            )
        except APIError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                return Attempt.REFUSED
            return Attempt.UNKNOWN
        except MaxPayloadError:
            raise StoreError(f"{self.name}: {len(message)} bytes are too many") from None
        except PASSING:
            return Attempt.UNKNOWN
        if stored.stream != self.name or stored.seq != position:
            raise StoreError(
                f"{self.name}: message {position} was stored as {stored.stream} {stored.seq}"
            )
        return Attempt.STORED

    def get(self, position: int) -> bytes | None:
        if position < 1:
            return None
        try:
            question = self._connection.streams.get_msg(self.name, position)
            return self._connection.call(question).data or b""
        except APIError as error:
            if error.err_code == NO_SUCH_MESSAGE:
                return None
            raise self._no_answer(error) from None
        except PASSING as error:
            raise self._no_answer(error) from None

    def last(self) -> int:
        try:
            info = self._connection.call(self._connection.streams.stream_info(self.name))
        except PASSING as error:
            raise self._no_answer(error) from None
        self._connection.answered()
        return info.state.last_seq

    def _no_answer(self, error: BaseException) -> LogUnavailable:
        self._connection.unanswered()
        return LogUnavailable(f"{self.name}: its leader did not answer: {error or 'no majority?'}")

    def after(self, position: int, seconds: float = 0.0) -> Sequence[bytes]:
        feed = self._feed
        if feed is None or feed.lost or feed.position != position:
            self._end_feed()
            feed = self._feed = _Feed(self._connection, self.name, position)
        messages = feed.take(seconds)
        if not messages and seconds and not feed.connected:
            with suppress(LogUnavailable):  # its server may be dead: the leader is another one
                message = self.get(position + 1)
                return [] if message is None else [message]
        return messages

    def distrust(self) -> None:
        feed = self._feed
        if feed is not None and feed.server not in self._distrusted:
            self._distrusted.add(feed.server)
            _warn(
                "%s: server %s has another message than the leader: its copy is damaged, perhaps "
                "by a full disk. Stop that server, empty its store, and start it again",
                self.name, feed.server,
            )  # fmt: skip
        self._end_feed()

    def _end_feed(self) -> None:
        if self._feed is not None:
            self._connection.begin(self._feed.end())
            self._feed = None

    def close(self) -> None:
        """Read no more."""
        self._end_feed()


class _Feed:
    """The messages of a stream from a position on, fetched ahead by a consumer of its own.

    The consumer lives in the memory of one server. When that dies, or a message is missing, the
    feed is `lost`, and its owner begins another one.
    """

    def __init__(self, connection: Connection, stream: str, position: int) -> None:
        self.position = position
        """Of the last message that was taken."""
        self.lost = False
        self.connected = False
        self._connection = connection
        self._stream = stream
        self._fetched = position
        self._messages: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._expected = 0
        """Messages that were asked for and have not come."""
        self._heard = 0.0
        self._consumer = ""
        self.server = ""
        """Whose copy it reads."""
        self._subscription: Subscription | None = None
        connection.begin(self._begin())

    # -- In the reader's thread -----------------------------------------------------------------

    def take(self, seconds: float) -> list[bytes]:
        """What has come; waits at most `seconds` for the first."""
        with self._changed:
            if not self._messages and seconds:
                self._changed.wait_for(lambda: self._messages or self.lost, seconds)
            messages = list(self._messages)
            self._messages.clear()
        self.position += len(messages)
        if messages:
            self._connection.begin(self._pull())
        elif self.connected and self._connection.loop.time() - self._heard > SILENCE_SECONDS:
            self.lost = True
        return messages

    # -- In the loop ----------------------------------------------------------------------------

    async def _begin(self) -> None:
        client = self._connection.client
        config = ConsumerConfig(
            ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._fetched + 1, num_replicas=1, mem_storage=True,
            inactive_threshold=5.0,
        )  # fmt: skip
        try:
            inbox = client.new_inbox()
            self._subscription = await client.subscribe(
                inbox, cb=self._take_in, pending_msgs_limit=-1, pending_bytes_limit=-1
            )
            made = await self._connection.streams.add_consumer(self._stream, config)
            self._consumer = made.name or ""
            self.server = (made.cluster.leader if made.cluster else "") or ""
        except PASSING:
            self._lose()
            return
        self._inbox = inbox
        self._heard = self._connection.loop.time()
        self.connected = True
        await self._pull()

    async def _pull(self) -> None:
        """Ask for more, unless some were asked for, or enough wait to be taken."""
        if not self.connected or self._expected or len(self._messages) >= PULL_MESSAGES:
            return
        self._expected = PULL_MESSAGES
        request = {
            "batch": PULL_MESSAGES,
            "max_bytes": PULL_BYTES,
            "expires": int(PULL_SECONDS * 1e9),
            "idle_heartbeat": int(HEARTBEAT_SECONDS * 1e9),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        with suppress(*PASSING):  # then it will be silent
            await self._connection.client.publish(
                subject, json.dumps(request).encode(), self._inbox
            )

    async def _take_in(self, message: Msg) -> None:
        self._heard = self._connection.loop.time()
        headers = message.headers or {}
        status = headers.get("Status")
        if status is None:
            if message.metadata.sequence.stream != self._fetched + 1:
                self._lose()
            if self.lost:
                return
            self._fetched += 1
            self._expected -= 1
            with self._changed:
                self._messages.append(message.data)
                self._changed.notify()
        elif status in ("404", "408") or "MaxBytes" in (message.headers or {}).get(
            "Description", ""
        ):
            self._expected = 0  # the request has ended
        elif status != "100" or int(headers.get("Nats-Last-Stream", 0)) > self._fetched:
            self._lose()  # the end of the consumer; or a heartbeat, and something was lost before
        if not self._expected:
            await self._pull()

    def _lose(self) -> None:
        with self._changed:
            self.lost = True
            self._changed.notify()

    async def end(self) -> None:
        """Stop fetching."""
        self._lose()
        with suppress(*PASSING):
            if self._subscription is not None:
                await self._subscription.unsubscribe()
            if self._consumer:
                await self._connection.streams.delete_consumer(self._stream, self._consumer)


# -- The lease ----------------------------------------------------------------------------------


class JetStreamLease(Lease):
    """The lease of one partition: a key that its holder writes again before it expires.

    All of it happens in the loop, again and again; `hold` only says what is known.
    """

    def __init__(
        self, connection: Connection, partition: int, node: str, replicas: int = 3
    ) -> None:
        """Begin to look at the lease, and do not bid for it before one period has passed."""
        self._connection = connection
        self._key = str(partition)
        self._node = node.encode()
        self._taken_until = 0.0
        """By somebody, by what was heard."""
        self._wanted_until = 0.0
        """By whoever asked whether we hold it."""
        self._used = False
        """Whether somebody was told that we hold it, and relies on it."""
        self._revision = 0
        """Of our last writing; 0 if the lease is not ours."""
        self._until = 0.0
        self._writing = asyncio.Lock()
        self._changed = asyncio.Event()
        config = KeyValueConfig(
            bucket=LEASE_BUCKET, ttl=LEASE_SECONDS, storage=StorageType.MEMORY, replicas=replicas
        )
        self._bucket: KeyValue = connection.call(
            _set_up("the lease", partial(connection.streams.create_key_value, config))
        )
        connection.subscribe(f"$KV.{LEASE_BUCKET}.{self._key}", self._written)
        self._work = connection.begin(self._live())

    def hold(self) -> bool:
        now = self._connection.loop.time()
        self._wanted_until = now + WANTED_SECONDS
        self._used = self._until > now
        return self._used

    def release(self) -> None:
        self._wanted_until, self._used = 0.0, False
        self._until = 0.0
        with suppress(*PASSING):
            self._connection.begin(self._give_back()).result(QUESTION_SECONDS)

    def _is_wanted(self) -> bool:
        return self._used or self._connection.loop.time() < self._wanted_until

    async def _give_back(self) -> None:
        async with self._writing:  # what is on its way there is given back, too
            revision, self._revision = self._revision, 0
            if revision:
                await self._bucket.delete(self._key, revision)

    def _written(self, message: Delivered) -> None:
        """Somebody writes the lease; without content it is given back. It is no proof."""
        if message.data.startswith(BID):
            return
        if message.data:
            self._taken_until = self._connection.loop.time() + LEASE_SECONDS
        else:
            self._taken_until = 0.0
            self._changed.set()

    async def _live(self) -> None:
        loop = self._connection.loop
        await asyncio.sleep(LEASE_SECONDS)
        while True:
            self._changed.clear()
            if self._revision or self._taken_until < loop.time():
                async with self._writing:
                    if self._is_wanted():
                        await self._write()
            pause = RENEW_SECONDS if self._revision else BID_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause)

    async def _write(self) -> None:
        """Renew the lease, or take it if it is free."""
        until = self._connection.loop.time() + LEASE_SECONDS
        try:
            if self._revision:
                revision = await self._bucket.update(self._key, self._node, self._revision)
            else:
                revision = await self._bucket.create(self._key, BID + self._node)
        except KeyWrongLastSequenceError:
            self._revision, self._until, self._used = 0, 0.0, False
            return
        except PASSING:
            return
        self._revision = revision
        if self._is_wanted():
            self._until = until


# -- The network --------------------------------------------------------------------------------


class NatsNetwork(Network):
    """What a node hears: `cmd.<p>`, `read.<p>`, `status`, `status.<p>`, `stop.<p>.<node>`."""

    def __init__(
        self, connection: Connection, partition: int, node: str, stop: Callable[[], None]
    ) -> None:
        """Begin to hear questions. `stop` is called, in the loop, when the node is to stop."""
        self._connection = connection
        self._partition = partition
        self._node = node
        self._queue: deque[Delivered] = deque()
        self._bytes = 0
        self._arrived = threading.Condition()
        self._awake = False
        self._requests: Subscription | None = None
        connection.subscribe(f"read.{partition}", self._enqueue, "replicas")
        connection.subscribe(f"status.{partition}", self._status)
        connection.subscribe("status", self._status)
        connection.subscribe(f"stop.{partition}.{node}", lambda _: stop())

    def take(self, seconds: float) -> Sequence[Delivered]:
        with self._arrived:
            if not self._queue and seconds:
                self._arrived.wait_for(lambda: self._queue or self._awake, seconds)
            taken = list(self._queue)
            self._queue.clear()
            self._bytes = 0
        return taken

    def wake(self) -> None:
        """Let no `take` wait any more: the node is to stop."""
        with self._arrived:
            self._awake = True
            self._arrived.notify()

    def _enqueue(self, message: Delivered) -> None:
        if not self._has_taken(message):
            self._connection.send([(message.reply_to, BUSY)])

    def _status(self, message: Delivered) -> None:
        asked = protocol.AskStatus(hashes=message.data != WITHOUT_HASHES)
        question = Delivered(protocol.encode(asked), message.reply_to)
        self._has_taken(question, above=QUEUED_STATUS_MAX)

    def _has_taken(self, message: Delivered, above: int = 0) -> bool:
        """Have a message wait for the node, if there is room; whether there was."""
        with self._arrived:
            if (
                len(self._queue) >= QUEUED_MESSAGES_MAX + above
                or self._bytes + len(message.data) > QUEUED_BYTES_MAX + above
            ):
                return False
            self._queue.append(message)
            self._bytes += len(message.data)
            self._arrived.notify()
        return True

    def reply(self, replies: Replies) -> None:
        if replies:
            self._connection.send([reply for reply in replies if reply[0]])

    def open(self) -> None:
        self._requests = self._connection.subscribe(f"cmd.{self._partition}", self._enqueue)
        self._connection.send([(f"active.{self._partition}", self._node.encode())])

    def close(self) -> None:
        if self._requests is not None:
            self._connection.end(self._requests)
            self._requests = None


BUSY = protocol.encode(protocol.Busy())
