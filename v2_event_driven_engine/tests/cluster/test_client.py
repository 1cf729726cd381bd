"""The client of a cluster does what the engine's Python API says."""

import inspect
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from v2_event_driven_engine import (
    CancelOrder,
    EngineBusy,
    EngineClosed,
    EngineStopped,
    InstrumentRefused,
    ListInstrument,
    MalformedCommand,
    MassCancel,
    MassCanceled,
    MatchingEngine,
    NewOrder,
    OrderStatus,
    OrderType,
    Side,
    TimeInForce,
)
from v2_event_driven_engine.cluster import client as client_module
from v2_event_driven_engine.cluster.client import ClusterClient
from v2_event_driven_engine.cluster.node import Delivered
from v2_event_driven_engine.cluster.protocol import Behind, Busy, encode
from v2_event_driven_engine.engine.receipt import Receipt
from v2_event_driven_engine.models.commands import Command

from ..flow import commands
from .in_process import Cluster

INSTRUMENT = ListInstrument(symbol="A", tick_size="0.01", lot_size="1")


def order(
    order_id: int, side: Side = Side.SELL, quantity: int = 5, symbol: str = "A", **fields: Any
) -> NewOrder:
    values: Any = {"type": OrderType.LIMIT, "price": 100, **fields}
    return NewOrder(
        order_id=order_id, participant=7, symbol=symbol, side=side, quantity=quantity, **values
    )


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def client(cluster: Cluster) -> Iterator[ClusterClient]:
    with cluster.client(instruments=[INSTRUMENT]) as client:
        yield client


def names(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_every_call_of_the_engine_has_the_same_arguments() -> None:
    for name in ("submit", "submit_many", "cancel", "reduce", "replace", "mass_cancel",
                 "list_instrument", "order", "book", "state", "close"):  # fmt: skip
        engines = inspect.signature(getattr(MatchingEngine, name)).parameters.values()
        clients = inspect.signature(getattr(ClusterClient, name)).parameters.values()
        own = [
            each for each in clients if each.kind is each.KEYWORD_ONLY or each.name == "partition"
        ]
        shared = [each for each in clients if each not in own]
        assert [(p.name, p.default) for p in engines] == [(p.name, p.default) for p in shared], name
        assert all(each.default is not each.empty for each in own)


def test_every_command_has_a_method(client: ClusterClient) -> None:
    assert names(client.list_instrument("B", "1", "1").result(60)) == ["InstrumentListed"]
    assert names(client.submit(order(1)).result(60)) == ["OrderAccepted"]
    market = order(2, Side.BUY, 2, type=OrderType.MARKET, price=None)
    assert names(client.submit(market).result(60)) == ["OrderAccepted", "TradeExecuted"]
    for receipt, name in (
        (client.reduce(order_id=1, participant=7, by=1), "OrderReduced"),
        (client.replace(order_id=1, participant=7, price=101), "OrderReplaced"),
        (client.replace(1, 7, None, 9), "OrderReplaced"),
        (client.cancel(order_id=1, participant=7), "OrderCanceled"),
        (client.cancel(1, 7), "CancelRejected"),
        (client.mass_cancel(participant=7), "MassCanceled"),
        (client.mass_cancel(7, symbol="A"), "MassCanceled"),
    ):
        assert names(receipt.result(60)) == [name]


def test_many_commands_are_answered_one_by_one(client: ClusterClient) -> None:
    orders = [order(1), order(2, Side.BUY, 2), order(2), order(3)]
    answers = client.submit_many(iter(orders)).result(60)
    assert list(map(names, answers)) == [
        ["OrderAccepted"], ["OrderAccepted", "TradeExecuted"], ["OrderRejected"], ["OrderAccepted"],
    ]  # fmt: skip
    assert [events[0].sequence for events in answers] == [2, 3, 4, 5]
    assert client.submit_many([]).result(0) == []
    assert client.state().sequence == 5


def test_the_answers_are_those_of_an_engine(cluster: Cluster) -> None:
    flow = list(commands(5000, seed=5))
    with MatchingEngine.in_memory() as engine, cluster.client() as client:
        expected = [engine.submit(command).result() for command in flow]
        many = client.submit_many(flow[:3000])
        singly = [client.submit(command) for command in flow[3000:]]
        found = many.result(60) + [receipt.result(60) for receipt in singly]
        assert client.state() == engine.state()
    assert list(map(without_times, found)) == list(map(without_times, expected))


def without_times(events: list[Any]) -> list[Any]:
    return [msgspec.structs.replace(event, timestamp_ns=0) for event in events]


def test_what_is_submitted_while_the_window_is_full_goes_together(cluster: Cluster) -> None:
    requests: list[int] = []
    held = threading.Event()

    def loses(subject: str, data: bytes) -> bool:
        if subject == "cmd.0":
            held.wait(60)
            requests.append(len(data))
        return False

    with cluster.client(instruments=[INSTRUMENT]) as client:
        cluster.servers.loses = loses
        receipts = [client.submit(order(number)) for number in range(1, 501)]
        held.set()
        for receipt in receipts:
            assert names(receipt.result(60)) == ["OrderAccepted"]
    assert 33 <= len(set(requests)) + 31 <= len(requests) + 1 < 70
    assert max(requests) > 100 * min(requests)


def test_views_are_the_same_tuples(client: ClusterClient) -> None:
    client.submit(order(1))
    client.submit(order(2, Side.BUY, 2))
    for current in (True, False):
        assert client.order(1, current=current) == (OrderStatus.PARTIALLY_FILLED, 3)
        assert client.order(order_id=99, current=current).status is OrderStatus.UNKNOWN
        depth = client.book(symbol="A").depth(levels=1, current=current)
        assert (depth.bids, depth.asks) == ((), ((100, 3, 1),))
        assert depth.asks[0]._fields == ("price", "quantity", "orders")
        assert client.book("NEVER").depth(current=current) == ((), ())
        state = client.state(current=current)
        assert state[:2] == (3, 1)
        assert re.fullmatch("[0-9a-f]{64}", state.state_hash)


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("command", lambda c: c.submit("x")),
        ("command", lambda c: c.submit_many([order(1), None])),
        ("order_id", lambda c: c.submit_many([order(1), order(0)])),
        ("order_id", lambda c: c.submit(order(0))),
        ("order_id", lambda c: c.order(0)),
        ("quantity", lambda c: c.submit(order(1, quantity=2**63))),
        ("price", lambda c: c.replace(1, 7)),
        ("by", lambda c: c.reduce(1, 7, True)),
        ("symbol", lambda c: c.book("a")),
        ("symbol", lambda c: c.cancel(1, 7, symbol="a")),
        ("symbol", lambda c: c.order(1, symbol="a")),
        ("symbol", lambda c: c.mass_cancel(7, "\ud800")),
        ("depth", lambda c: c.book("A").depth(0)),
        ("tick_size", lambda c: c.list_instrument("B", "\ud800", "1")),
        ("tick_size", lambda c: c.list_instrument("B", "1" * 65, "1")),
        ("lot_size", lambda c: c.list_instrument("B", "1", 1)),
        ("partition", lambda c: c.state(1)),
        ("partition", lambda c: c.state(True)),
        ("commands", lambda c: c.submit_many([order(1)] * 70_000)),
    ],
)
def test_what_is_malformed_is_refused_by_its_field(
    client: ClusterClient, field: str, call: Any
) -> None:
    with pytest.raises(MalformedCommand, match=f"^{field}: ") as caught:
        call(client)
    assert caught.value.field == field
    assert client.state().sequence == 1


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("client_id", {"client_id": 0}),
        ("client_id", {"client_id": "7"}),
        ("queue_capacity", {"queue_capacity": 0}),
        ("instruments", {"instruments": ["A"]}),
        ("tick_size", {"instruments": [ListInstrument("A", 1, "1")]}),  # type: ignore[arg-type]
    ],
)
def test_a_malformed_argument_is_named(
    cluster: Cluster, field: str, options: dict[str, Any]
) -> None:
    with pytest.raises(MalformedCommand, match=f"^{field}: "):
        cluster.client(**options)


def test_instruments_are_listed_once_and_refused_by_name(cluster: Cluster) -> None:
    for _ in range(2):
        with cluster.client(instruments=[INSTRUMENT]) as client:
            assert names(client.submit(order(1)).result(60))
    with pytest.raises(InstrumentRefused, match=r"B: .*INVALID_TICK_SIZE"):
        cluster.client(instruments=[ListInstrument("B", "0", "1")])


def test_a_full_client_is_busy_and_nothing_was_sent(cluster: Cluster) -> None:
    with cluster.client(instruments=[INSTRUMENT], queue_capacity=10) as client:
        cluster.servers.loses = lambda subject, _: subject == "cmd.0"
        receipts = [client.submit(order(number)) for number in range(1, 10)]
        with pytest.raises(EngineBusy):
            client.submit_many([order(10), order(11)])
        receipts.append(client.submit(order(10)))
        with pytest.raises(EngineBusy):
            client.submit(order(11))
        cluster.servers.loses = lambda subject, _: False
        client.wait_for_room()
        assert receipts[0].done
        assert client.state().sequence == 11
        client.wait_for_room()


def test_a_lost_request_and_a_lost_answer_are_both_repeated_and_act_once(
    cluster: Cluster,
) -> None:
    with cluster.client(instruments=[INSTRUMENT]) as client:
        assert client.submit(order(1, quantity=50)).result(60)
        lost: list[str] = []

        def loses(subject: str, data: bytes) -> bool:
            """The first request, and the first answer."""
            kind = subject.partition(".")[0]
            if kind in lost or kind == "active":
                return False
            lost.append(kind)
            return True

        cluster.servers.loses = loses
        receipts = [client.reduce(1, 7, by=1) for _ in range(10)]
        assert [receipt.result(60)[0].sequence for receipt in receipts] == list(range(3, 13))
        assert lost == ["cmd", "_INBOX"]
        assert client.order(1).remaining == 40


def test_a_question_waits_for_what_was_submitted_before_it(cluster: Cluster) -> None:
    with cluster.client(instruments=[INSTRUMENT]) as client:
        lost: list[bytes] = []

        def loses(subject: str, data: bytes) -> bool:
            """The first request; the question would overtake it."""
            if subject == "cmd.0" and not lost:
                lost.append(data)
                return True
            return False

        cluster.servers.loses = loses
        client.submit(order(1))
        assert client.order(1).status is OrderStatus.NEW
        assert len(lost) == 1


def test_a_late_answer_to_a_question_is_an_answer(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a node that is slower than the client is patient would never have answered."""
    with cluster.client(instruments=[INSTRUMENT]) as client:
        monkeypatch.setattr(client_module, "REPEAT_SECONDS", 0.01)
        monkeypatch.setattr(client_module, "REPEAT_SECONDS_MAX", 0.01)
        first: list[tuple[str, bytes]] = []
        asked = 0

        def loses(subject: str, data: bytes) -> bool:
            """Every answer; the first comes when the question was asked three times."""
            nonlocal asked
            if subject == "cmd.0":
                asked += 1
                if asked == 3:
                    cluster.servers.loses = lambda subject, _: subject == "cmd.0"
                    cluster.servers.send(first)
            elif ".q" in subject:
                first.append((subject, data))
                return True
            return False

        cluster.servers.loses = loses
        assert client.state().sequence == 1


@pytest.mark.parametrize("times", [1, 4])
def test_a_replica_that_is_behind_is_asked_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """At once, each time: it is not waited for as one that does not answer.

    That its server answers is no sign, either, that new things still come to it.
    """
    with cluster.client(instruments=[INSTRUMENT], patience=5) as client:
        monkeypatch.setattr(client_module, "REPEAT_SECONDS", 60.0)
        behind: list[str] = []

        def loses(subject: str, data: bytes) -> bool:
            """The first answers, in whose places others come."""
            if ".q" not in subject or data == encode(Behind(0)) or len(behind) == times:
                return False
            behind.append(subject)
            cluster.servers.send([(subject, encode(Behind(0)))])
            return True

        answered: list[int] = []
        monkeypatch.setattr(cluster.servers, "answered", lambda: answered.append(len(behind)))
        cluster.servers.loses = loses
        assert client.state(current=False).sequence == 1
        assert len(behind) == times
        assert answered == [times], "by the answer itself"


def test_who_is_told_that_a_node_is_busy_does_not_ask_again_at_once(cluster: Cluster) -> None:
    with cluster.client(instruments=[INSTRUMENT]) as client:
        asked = client._questions["q"] = client_module._Asked()
        client._heard(Delivered(encode(Busy()), "", "q"))
        assert not asked.heard.is_set()
        client._heard(Delivered(encode(Behind(0)), "", "q"))
        assert asked.heard.is_set()


@pytest.mark.parametrize("current", [True, False])
def test_the_connection_hears_whether_a_question_is_answered(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, current: bool
) -> None:
    """Else whoever only asks would stay with a server that has lost the others."""
    with cluster.client(instruments=[INSTRUMENT], patience=5) as client:
        heard: list[str] = []

        def another_server() -> None:
            heard.append("unanswered")
            cluster.servers.loses = lambda _subject, _data: False

        monkeypatch.setattr(cluster.servers, "answered", lambda: heard.append("answered"))
        monkeypatch.setattr(cluster.servers, "unanswered", another_server)
        assert client.state(current=current).sequence == 1
        assert "answered" in heard
        cluster.servers.loses = lambda subject, _: subject.startswith(("cmd", "read"))
        assert client.state(current=current).sequence == 1
        assert "unanswered" in heard


def test_whoever_interrupts_a_client_does_not_wait_for_the_cluster(cluster: Cluster) -> None:
    client = cluster.client(instruments=[INSTRUMENT])
    cluster.servers.loses = lambda subject, _: subject == "cmd.0"
    receipt = client.submit(order(1))
    with suppress(KeyboardInterrupt), client:
        raise KeyboardInterrupt
    with pytest.raises(EngineStopped, match="was closed before there was an answer"):
        receipt.result(0)


def test_whoever_leaves_wakes_a_timer_that_is_just_at_the_lock(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has found the client open, and gets the lock when the one who leaves has let it go."""
    client = cluster.client()
    lock, wake = client._lock, client._woken.set
    at_lock, left = threading.Event(), threading.Event()

    class TimersTurn:
        def __enter__(self) -> None:
            if threading.current_thread() is client._timer:
                at_lock.set()
                left.wait(60)
            lock.acquire()

        def __exit__(self, *error: object) -> None:
            lock.release()

    def wake_and_leave() -> None:
        wake()
        left.set()

    monkeypatch.setattr(client, "_lock", TimersTurn())
    while not at_lock.wait(0.01):
        wake()
    monkeypatch.setattr(client._woken, "set", wake_and_leave)
    leaving = threading.Thread(target=client.leave, daemon=True)
    leaving.start()
    leaving.join(10)
    assert not leaving.is_alive()


def test_a_new_active_is_told_what_the_old_one_did_not_answer(cluster: Cluster) -> None:
    with cluster.client(instruments=[INSTRUMENT]) as client:
        receipt = client.submit(order(1))
        receipt.result(60)
        cluster.stop()
        receipts = [client.submit(order(number)) for number in range(2, 50)]
        assert not any(receipt.done for receipt in receipts)
        cluster.start()
        assert [receipt.result(60)[0].sequence for receipt in receipts] == list(range(3, 51))


def test_a_client_with_the_id_of_one_that_has_ended_goes_on_after_it(cluster: Cluster) -> None:
    for number in range(1, 4):
        with cluster.client(7, instruments=[INSTRUMENT]) as client:
            assert client.submit(order(number)).result(60)[0].sequence == 2 * number
    assert cluster.nodes[0].replica.sessions.last_number(7) == 6


def test_without_an_answer_everything_fails_once_the_patience_is_over(cluster: Cluster) -> None:
    cluster.servers.loses = lambda subject, _: subject == "cmd.0"
    client = cluster.client(patience=0.5)
    receipt = client.submit(order(1))
    many = client.submit_many([order(2)] * 2000)
    for each in (receipt, many):
        with pytest.raises(EngineStopped, match=r"partition 0: no node has answered for 0 s"):
            each.result(60)
    with pytest.raises(EngineStopped, match="no node has answered"):
        client.submit(order(3))
    with pytest.raises(EngineStopped, match="no node has answered a question"):
        client.state()
    client.close()


def test_a_closed_client_takes_nothing_and_has_answered_everything(cluster: Cluster) -> None:
    client = cluster.client(instruments=[INSTRUMENT])
    receipts = [client.submit(order(number)) for number in range(1, 100)]
    client.close()
    assert all(receipt.result(0) for receipt in receipts)
    for call in (lambda: client.submit(order(1)), lambda: client.order(1), client.state):
        with pytest.raises(EngineClosed):
            call()
    client.close()


def test_whoever_closes_waits_for_an_earlier_answer_that_comes_later(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new active answers what was carried out already after what was not; or a reply is lost."""
    with cluster.client(instruments=[INSTRUMENT]) as client:
        wait, waits = Receipt.wait, threading.Event()
        answers: list[str] = []

        def loses(subject: str, data: bytes) -> bool:
            """The first answer; the second comes once somebody waits."""
            if not subject.startswith("_INBOX"):
                return False
            answers.append(subject)
            if len(answers) == 2:
                waits.wait(60)
            return len(answers) == 1

        def waiting(receipt: Receipt[Any], timeout: float | None = None) -> bool:
            waits.set()
            return wait(receipt, timeout)

        monkeypatch.setattr(Receipt, "wait", waiting)
        cluster.servers.loses = loses
        receipts = [client.submit(order(1)), client.submit(order(2))]
        assert not any(receipt.done for receipt in receipts)
    assert len(answers) > 2
    assert [names(receipt.result(0)) for receipt in receipts] == [["OrderAccepted"]] * 2


def test_threads_share_a_client(client: ClusterClient) -> None:
    answers: list[int] = []

    def submit(first: int) -> None:
        receipts = [client.submit(order(first + each)) for each in range(200)]
        answers.extend(receipt.result(60)[0].sequence for receipt in receipts)

    threads = [threading.Thread(target=submit, args=(1000 * n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == list(range(2, 802))


# -- Several partitions -----------------------------------------------------------------------


@pytest.fixture
def three() -> Iterator[Cluster]:
    with Cluster(3) as cluster:
        yield cluster


SYMBOLS = ("A", "B", "C", "D")
LISTED = [ListInstrument(symbol, "1", "1") for symbol in SYMBOLS]


def test_commands_go_to_the_partition_of_their_symbol_or_their_order(three: Cluster) -> None:
    with three.client(instruments=LISTED) as client:
        assert three.table.read().symbols == {"A": 0, "B": 1, "C": 2, "D": 0}
        for number, symbol in enumerate(SYMBOLS, 1):
            [event] = client.submit(order(number, symbol=symbol)).result(60)
            assert (type(event).__name__, event.sequence) == (
                "OrderAccepted",
                (3, 2, 2, 4)[number - 1],
            )
            assert client.book(symbol).depth().asks == ((100, 5, 1),)
            assert client.order(number) == (OrderStatus.NEW, 5)
        assert names(client.reduce(2, 7, 1).result(60)) == ["OrderReduced"]
        assert names(client.cancel(3, 7).result(60)) == ["OrderCanceled"]
        assert names(client.submit(order(9, symbol="NEVER")).result(60)) == ["OrderRejected"]
        with pytest.raises(MalformedCommand, match=r"^partition: expected one of 0 to 2$"):
            client.state()
        assert [client.state(p).resting_orders for p in range(3)] == [2, 1, 0]
    with three.client() as other:
        assert names(other.replace(2, 7, quantity=9).result(60)) == ["OrderReplaced"], "asked for"
        assert names(other.cancel(1, 7, symbol="A").result(60)) == ["OrderCanceled"]
        assert names(other.cancel(77, 7).result(60)) == ["CancelRejected"]
        assert other.order(2) == (OrderStatus.NEW, 9)
        assert other.order(2, symbol="B", current=False) == (OrderStatus.NEW, 9)
        assert other.order(77).status is OrderStatus.UNKNOWN


def test_with_its_symbol_a_request_is_for_the_order_there(three: Cluster) -> None:
    with three.client(instruments=LISTED) as client:
        for symbol in ("A", "B"):
            assert names(client.submit(order(7, symbol=symbol)).result(60)) == ["OrderAccepted"]
        for symbol in ("A", "B"):
            for receipt, name in (
                (client.reduce(7, 7, 1, symbol=symbol), "OrderReduced"),
                (client.replace(7, 7, quantity=9, symbol=symbol), "OrderReplaced"),
                (client.cancel(7, 7, symbol=symbol), "OrderCanceled"),
            ):
                assert names(receipt.result(60)) == [name]
            assert client.book(symbol).depth().asks == ()
        assert names(client.cancel(7, 7, symbol="NEVER").result(60)) == ["CancelRejected"]


def test_an_order_is_not_looked_for_where_one_of_its_id_was_refused(three: Cluster) -> None:
    with three.client(instruments=LISTED[:1]) as client, three.client() as other:
        assert names(client.submit(order(8, symbol="B")).result(60)) == ["OrderRejected"]
        assert other.order(8).status is OrderStatus.REJECTED
        client.list_instrument("B", "1", "1").result(60)
        assert names(client.submit(order(8, symbol="B")).result(60)) == ["OrderAccepted"]
        assert client.order(8) == other.order(8) == (OrderStatus.NEW, 5)
        assert names(other.reduce(8, 7, 1).result(60)) == ["OrderReduced"]
        assert names(client.cancel(8, 7).result(60)) == ["OrderCanceled"]
        with three.client() as third:
            assert third.order(8).status is OrderStatus.CANCELED


def test_a_new_order_that_is_refused_or_not_sent_hides_no_other(three: Cluster) -> None:
    with three.client(instruments=LISTED, queue_capacity=4) as client:
        assert names(client.submit(order(7, symbol="B")).result(60)) == ["OrderAccepted"]
        three.servers.loses = lambda subject, _: subject.startswith("cmd")
        waiting = client.submit_many([MassCancel(9, "A")] * 4)
        with pytest.raises(EngineBusy):
            client.submit(order(7, symbol="C"))
        three.servers.loses = lambda _subject, _data: False
        waiting.result(60)
        assert names(client.reduce(7, 7, 1).result(60)) == ["OrderReduced"]
        refused = order(7, symbol="C", time_in_force=TimeInForce.FOK, post_only=True)
        assert names(client.submit(refused).result(60)) == ["OrderRejected"]
        assert names(client.cancel(7, 7).result(60)) == ["OrderCanceled"]


def test_an_order_can_be_cancelled_before_it_is_answered(three: Cluster) -> None:
    with three.client(instruments=LISTED) as client:
        accepted = client.submit(order(1, symbol="B"))
        assert names(client.cancel(1, 7).result(60)) == ["OrderCanceled"]
        together: list[Command] = [order(2, symbol="C"), CancelOrder(2, 7), CancelOrder(3, 7)]
        answers = [names(events)[0] for events in client.submit_many(together).result(60)]
        assert answers == ["OrderAccepted", "OrderCanceled", "CancelRejected"]
        assert accepted.done


def test_many_commands_of_several_partitions_are_answered_in_their_order(three: Cluster) -> None:
    flow: list[Command] = [*LISTED]
    flow += [order(n, symbol=SYMBOLS[n % 4]) for n in range(1, 5001)]
    flow += [MassCancel(7, None), order(6000)]
    with three.client() as client:
        answers = client.submit_many(flow).result(60)
    assert [getattr(events[0], "symbol", "") for events in answers[4:-2]] == [
        SYMBOLS[n % 4] for n in range(1, 5001)
    ]
    masses = [event for event in answers[-2] if isinstance(event, MassCanceled)]
    assert [event.count for event in masses] == [2500, 1250, 1250], "one for each partition"
    assert names(answers[-1]) == ["OrderAccepted"]


def test_a_mass_cancel_of_every_symbol_is_one_command_a_partition(three: Cluster) -> None:
    with three.client(instruments=LISTED) as client:
        client.submit_many([order(n, symbol=SYMBOLS[n % 4]) for n in range(1, 9)]).result(60)
        events = client.mass_cancel(7).result(60)
        counts = [event.count for event in events if isinstance(event, MassCanceled)]
        assert (counts, len(events)) == ([4, 2, 2], 8 + 3)
        assert names(client.mass_cancel(7, "B").result(60)) == ["MassCanceled"]


def test_a_new_symbol_goes_where_the_fewest_are_and_two_clients_agree(three: Cluster) -> None:
    with three.client() as one, three.client() as two:
        for client, symbol in ((one, "X"), (two, "Y"), (one, "Z"), (two, "X")):
            client.list_instrument(symbol, "1", "1").result(60)
        assert three.table.read().symbols == {"X": 0, "Y": 1, "Z": 2}
        for client in (one, two):
            for number, symbol in enumerate("XYZ"):
                answer = client.submit(order(number + client.client_id % 10**9 + 1, symbol=symbol))
                assert names(answer.result(60)) == ["OrderAccepted"]


def test_a_request_in_the_wrong_partition_is_refused_and_named(three: Cluster) -> None:
    with three.client(instruments=LISTED) as first:
        other = first.client_id
    three.stop()
    three.start()  # nodes look at the table when they start, and then at times
    client = three.client()
    assert client._known is not None
    client._known.symbols["B"] = 2  # what no client thinks
    client.submit(order(3, symbol="C")).result(60)
    receipt = client.submit(order(1, symbol="B"))
    later = client.submit(order(2, symbol="C"))
    with pytest.raises(MalformedCommand, match="B is not in partition 2, but 1"):
        receipt.result(60)
    with pytest.raises(EngineStopped, match="go on with another client"):
        later.result(60)
    client.close()
    known = [list(node.replica.sessions) for node in three.nodes]
    assert known == [[other], [other], [other, client.client_id]]
    assert three.nodes[2].replica.sequence == 2, "listed, and the first order"


def test_no_client_without_a_table(cluster: Cluster) -> None:
    """Without, it could only guess how many partitions there are."""
    with pytest.raises(TypeError, match="table"):
        ClusterClient(cluster.servers)  # type: ignore[call-arg]


@pytest.mark.parametrize("patience", ["x", -1, 0, float("nan"), float("inf"), True, None])
def test_a_patience_that_cannot_be_is_refused(cluster: Cluster, patience: Any) -> None:
    with pytest.raises(MalformedCommand, match="patience: expected a number of seconds above 0"):
        cluster.client(patience=patience)


@pytest.mark.parametrize("partitions", [1, 2])
def test_in_a_forked_process_the_client_is_closed(partitions: int) -> None:
    """It has no thread that would hear an answer; the other process goes on with its own."""

    def in_the_child(client: ClusterClient, waiting: Any) -> Iterator[bool]:
        calls: list[Any] = [
            lambda: client.submit(order(2)),
            lambda: client.submit_many([order(3)]),
            lambda: client.list_instrument("NEW", "1", "1"),
            lambda: client.cancel(99, 7),
            lambda: client.state(0),
            lambda: client.order(99),
            lambda: client.book("UNKNOWN").depth(),
        ]
        for call in calls:
            with pytest.raises(EngineClosed):
                call()
            yield True
        with pytest.raises(EngineStopped, match="forked"):
            waiting.result(0)
        client.wait_for_room()
        client.close()
        yield True

    with Cluster(partitions) as cluster, cluster.client(instruments=[INSTRUMENT]) as client:
        cluster.servers.loses = lambda subject, _: subject.startswith("cmd")
        waiting = client.submit(order(1))
        with client._lock, client._routing:  # as if another thread had just held them
            pid = os.fork()
            if not pid:
                done = 0
                signal.alarm(20)  # ends it if it waits for ever
                try:
                    done = sum(in_the_child(client, waiting))
                finally:
                    os._exit(0 if done == 8 else 1)
        assert os.waitpid(pid, 0)[1] == 0
        cluster.servers.loses = lambda _subject, _data: False
        assert names(waiting.result(60)) == ["OrderAccepted"]
        assert names(client.submit(order(2)).result(60)) == ["OrderAccepted"]
