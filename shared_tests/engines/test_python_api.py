"""Rulebook 9: one Python API. A program for V1 moves to V2 by one import and `.result()`."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import v1_order_matching_engine as v1
import v2_event_driven_engine as v2

from ..programs.program import ROOT

VERSIONS: dict[str, Any] = {"v1": v1, "v2": v2}
ONLY_V1 = {"Recorded", "replay"}
ONLY_V2 = {
    "AnswerForgotten",
    "Batch",
    "BatchTooLarge",
    "DirectoryInUse",
    "DirectoryUnusable",
    "EngineBusy",
    "EngineClosed",
    "EventDrivenMatchingEngine",
    "EventLog",
    "Fenced",
    "LogDamaged",
    "LogUnavailable",
    "MatcherBug",
    "MemoryEventLog",
    "Place",
    "Receipt",
    "ReplayDivergence",
    "SequenceGap",
    "StoreError",
    "UnsupportedFormat",
    "WriterBlocked",
}
"""What V2 has besides: its log, its errors, and the receipt of an answer."""


class Client:
    """A program that is written once: the version, and how it gets what a call answers."""

    def __init__(self, api: Any) -> None:
        self.api = api
        self.engine = api.MatchingEngine.in_memory(
            instruments=[api.ListInstrument(symbol="A", tick_size="0.01", lot_size="1")]
        )

    def __call__(self, answer: Any) -> list[Any]:
        events: list[Any] = answer if isinstance(answer, list) else answer.result(timeout=60)
        return events

    def order(self, order_id: int, side: str = "SELL", quantity: int = 5, **fields: Any) -> Any:
        values = {"type": self.api.OrderType.LIMIT, "price": 100, **fields}
        return self.api.NewOrder(
            order_id=order_id, participant=7, symbol="A", side=self.api.Side[side],
            quantity=quantity, **values,
        )  # fmt: skip


@pytest.fixture(params=VERSIONS)
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    client = Client(VERSIONS[request.param])
    with client.engine:
        yield client


def names(events: list[Any]) -> list[str]:
    return [type(event).__name__ for event in events]


def test_both_packages_export_the_same_names() -> None:
    assert set(v1.__all__) - set(v2.__all__) == ONLY_V1
    assert set(v2.__all__) - set(v1.__all__) == ONLY_V2
    for api in VERSIONS.values():
        assert sorted(api.__all__) == sorted(set(api.__all__))
        assert all(hasattr(api, name) for name in api.__all__)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_error_that_a_caller_may_meet_is_exported(version: str) -> None:
    """All of the tree, except for what only the command line of V1 raises."""
    api = VERSIONS[version]
    inside = {"MalformedLine", "StreamError"} if version == "v1" else set[str]()
    errors = {name for name, kind in vars(api.errors).items() if is_error(kind)}
    assert errors - inside == {name for name in api.__all__ if is_error(getattr(api, name))}
    assert inside < errors or not inside
    for name in errors:
        assert issubclass(getattr(api.errors, name), api.EngineError)


def is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Exception)


def test_every_call_has_the_same_keyword_arguments() -> None:
    calls = [name for name, _ in inspect.getmembers(v1.MatchingEngine, inspect.isfunction)]
    shared = [name for name in calls if hasattr(v2.MatchingEngine, name) and name[0] != "_"]
    assert {"submit", "cancel", "reduce", "replace", "mass_cancel", "list_instrument"} < set(shared)
    assert {"submit_many", "order", "book", "state", "close"} < set(shared)
    for name in shared:
        one, two = (parameters(api.MatchingEngine, name) for api in VERSIONS.values())
        assert one == two, name
    assert parameters(v1.BookView, "depth") == parameters(v2.BookView, "depth")
    for command in ("ListInstrument", "CancelOrder", "ReduceOrder", "ReplaceOrder", "MassCancel"):
        assert parameters(v1, command) == parameters(v2, command)
    assert set(parameters(v1, "NewOrder")) == set(parameters(v2, "NewOrder"))


def parameters(owner: ModuleType | type, name: str) -> dict[str, object]:
    return {
        parameter.name: parameter.default
        for parameter in inspect.signature(getattr(owner, name)).parameters.values()
    }


@pytest.mark.parametrize(
    "kind",
    ["Side", "OrderType", "TimeInForce", "SelfTradePrevention", "OrderStatus", "CancelReason",
     "CancelRequest", "RejectReason"],
)  # fmt: skip
def test_enumerations_have_the_same_members(kind: str) -> None:
    one, two = ({member.name for member in getattr(api, kind)} for api in VERSIONS.values())
    assert one == two


def test_events_have_the_same_fields() -> None:
    for name in v1.__all__:
        kind = getattr(v1, name)
        if isinstance(kind, type) and issubclass(kind, v1.Event) and kind is not v1.Event:
            fields = set(kind.__struct_fields__)
            assert fields == set(getattr(v2, name).__struct_fields__), name


def test_every_command_has_a_method(client: Client) -> None:
    engine = client.engine
    listed = client(engine.list_instrument(symbol="B", tick_size="1", lot_size="1"))
    assert names(listed) == ["InstrumentListed"]
    assert names(client(engine.submit(client.order(1)))) == ["OrderAccepted"]
    market = client.order(2, "BUY", 2, type=client.api.OrderType.MARKET, price=None)
    assert names(client(engine.submit(market))) == ["OrderAccepted", "TradeExecuted"]
    for answer, name in (
        (engine.reduce(order_id=1, participant=7, by=1), "OrderReduced"),
        (engine.replace(order_id=1, participant=7, price=101), "OrderReplaced"),
        (engine.replace(1, 7, None, 9), "OrderReplaced"),
        (engine.cancel(order_id=1, participant=7), "OrderCanceled"),
        (engine.cancel(1, 7), "CancelRejected"),
        (engine.mass_cancel(participant=7), "MassCanceled"),
        (engine.mass_cancel(7, symbol="A"), "MassCanceled"),
    ):
        assert names(client(answer)) == [name]


def test_many_commands_are_submitted_at_once_and_answered_one_by_one(client: Client) -> None:
    orders = [client.order(1), client.order(2, "BUY", 2), client.order(2), client.order(3)]
    answers = client(client.engine.submit_many(iter(orders)))
    assert [names(events) for events in answers] == [
        ["OrderAccepted"],
        ["OrderAccepted", "TradeExecuted"],
        ["OrderRejected"],
        ["OrderAccepted"],
    ]
    assert [events[0].sequence for events in answers] == [2, 3, 4, 5]
    assert client(client.engine.submit_many([])) == []
    assert client.engine.state().sequence == 5


def test_of_many_commands_none_is_taken_if_one_is_malformed(client: Client) -> None:
    with pytest.raises(client.api.MalformedCommand, match=r"^command: ") as caught:
        client.engine.submit_many([client.order(1), "x", client.order(2)])
    assert caught.value.field == "command"
    with pytest.raises(client.api.MalformedCommand, match=r"^price: "):
        client.engine.submit_many([client.order(1), client.order(2, price=1.5)])
    assert client.engine.state().sequence == 1


def test_a_price_may_be_left_out_of_a_market_order(client: Client) -> None:
    order = client.api.NewOrder(
        order_id=1, participant=7, symbol="A", side=client.api.Side.BUY,
        type=client.api.OrderType.MARKET, quantity=5,
    )  # fmt: skip
    assert names(client(client.engine.submit(order))) == ["OrderAccepted", "OrderExpired"]


def test_views_are_the_same_tuples(client: Client) -> None:
    engine = client.engine
    client(engine.submit(client.order(1)))
    client(engine.submit(client.order(2, "BUY", 2)))
    assert engine.order(1)._fields == ("status", "remaining")
    assert (engine.order(1).status.name, engine.order(1).remaining) == ("PARTIALLY_FILLED", 3)
    assert engine.order(order_id=99).status is client.api.OrderStatus.UNKNOWN
    depth = engine.book(symbol="A").depth(levels=1)
    assert depth == ((), ((100, 3, 1),))
    assert isinstance(depth, client.api.Depth)
    assert isinstance(depth.asks[0], client.api.Level)
    assert depth.asks[0]._fields == ("price", "quantity", "orders")
    assert engine.book("NEVER").depth() == ((), ())
    state = engine.state()
    assert isinstance(state, client.api.State)
    assert state[:2] == (3, 1)
    assert re.fullmatch("[0-9a-f]{64}", state.state_hash)


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("command", lambda c: c.engine.submit("x")),
        ("command", lambda c: c.engine.submit(c.api.NewOrder)),
        ("command", lambda c: c.engine.submit_many([c.order(1), None])),
        ("order_id", lambda c: c.engine.submit_many([c.order(1), c.order(0)])),
        ("order_id", lambda c: c.engine.submit(c.order(0))),
        ("order_id", lambda c: c.engine.order(0)),
        ("order_id", lambda c: c.engine.order([1])),
        ("quantity", lambda c: c.engine.submit(c.order(1, quantity=2**63))),
        ("price", lambda c: c.engine.submit(c.order(1, price=1.5))),
        ("price", lambda c: c.engine.replace(1, 7)),
        ("by", lambda c: c.engine.reduce(1, 7, True)),
        ("symbol", lambda c: c.engine.book("a")),
        ("symbol", lambda c: c.engine.mass_cancel(7, "\ud800")),
        ("depth", lambda c: c.engine.book("A").depth(0)),
        ("depth", lambda c: c.engine.book("A").depth("1")),
        ("tick_size", lambda c: c.engine.list_instrument("B", "\ud800", "1")),
        ("lot_size", lambda c: c.engine.list_instrument("B", "1", 1)),
    ],
)
def test_what_is_malformed_is_refused_by_its_field(client: Client, field: str, call: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}: ") as caught:
        call(client)
    assert isinstance(caught.value, client.api.MalformedCommand)
    assert isinstance(caught.value, client.api.EngineError)
    assert caught.value.field == field
    assert client.engine.state().sequence == 1


@pytest.mark.parametrize(("field", "example"), [("tick_size", "0.01"), ("lot_size", "100")])
def test_a_text_of_another_type_is_refused_with_an_example_of_its_own(
    client: Client, field: str, example: str
) -> None:
    sizes: dict[str, Any] = {"tick_size": "1", "lot_size": "1", field: 1}
    with pytest.raises(client.api.MalformedCommand, match=rf"^{field}: .*such as .{example}.$"):
        client.engine.list_instrument("B", **sizes)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_instrument_that_is_refused_is_raised(version: str) -> None:
    api = VERSIONS[version]
    with pytest.raises(api.InstrumentRefused, match=r"A: .*INVALID_TICK_SIZE") as caught:
        api.MatchingEngine.in_memory(instruments=[api.ListInstrument("A", "0", "1")])
    assert isinstance(caught.value, api.EngineError)
    with pytest.raises(api.MalformedCommand, match=r"^instruments: "):
        api.MatchingEngine.in_memory(instruments=["A"])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_example_of_the_readme_runs_on_both_versions_by_one_import(version: str) -> None:
    """The README says what it is: V1's program, and the two changes that make it V2's."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    example = readme.partition("<!-- one program, two versions -->")[2].partition("```\n\n")[0]
    if version == "v2":
        example = example.replace("v1_order_matching_engine", "v2_event_driven_engine")
        example, changed = re.subn(r"(engine\.submit\(.*\))$", r"\1.result()", example, flags=re.M)
        assert changed == 2
    parsed = doctest.DocTestParser().get_doctest(example, {}, "README.md", None, 0)
    assert len(parsed.examples) >= 6
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    assert runner.run(parsed, out=said.append).failed == 0, "".join(said)
