"""The package as a whole: what it exports, and which folder may import which."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from .. import MalformedCommand, RejectReason, __all__, errors

FOLDER = Path(__file__).resolve().parents[1]

# What V1 and V2 both export (rulebook 9), and what only V1 has.
SHARED = """
    MatchingEngine BookView
    ListInstrument NewOrder CancelOrder ReduceOrder ReplaceOrder MassCancel Command
    Event InstrumentListed InstrumentRejected OrderAccepted OrderRejected TradeExecuted
    OrderCanceled OrderExpired OrderReduced OrderReplaced MassCanceled CancelRejected
    Side OrderType TimeInForce SelfTradePrevention
    OrderStatus CancelReason CancelRequest RejectReason
    OrderView Depth Level State
    EngineError MalformedCommand InstrumentRefused EngineStopped IllegalTransition InvariantBroken
"""
OWN = "Recorded replay"

FLOORS = ["errors", "models", "concurrency", "engine", "utils", "main"]


def test_the_root_exports_the_names_of_the_rulebook_and_two_of_its_own() -> None:
    assert sorted([*SHARED.split(), *OWN.split()]) == sorted(__all__)


def test_every_error_has_one_root_and_malformed_commands_are_value_errors() -> None:
    tree = [each for each in vars(errors).values() if isinstance(each, type)]
    assert all(issubclass(each, errors.EngineError) for each in tree)
    assert issubclass(MalformedCommand, ValueError)


def test_reasons_are_in_the_order_of_the_rulebook() -> None:
    assert list(RejectReason) == [
        "DUPLICATE_SYMBOL",
        "INVALID_TICK_SIZE",
        "INVALID_LOT_SIZE",
        "UNKNOWN_SYMBOL",
        "DUPLICATE_ORDER_ID",
        "INVALID_PRICE",
        "INVALID_QUANTITY",
        "INVALID_TIME_IN_FORCE",
        "POST_ONLY_WOULD_TRADE",
        "UNKNOWN_ORDER",
        "TOO_LATE",
        "NOT_OWNER",
    ]


def imported_floors(path: Path) -> Iterator[str]:
    """The first part of every relative import that leaves a file's own folder."""
    depth = len(path.relative_to(FOLDER).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == depth:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (name.partition(".")[0] for name in names)


@pytest.mark.parametrize("floor", FLOORS)
def test_a_folder_imports_only_what_is_before_it(floor: str) -> None:
    files = [*FOLDER.glob(f"{floor}.py"), *FOLDER.glob(f"{floor}/*.py")]
    assert files
    for path in files:
        assert set(imported_floors(path)) <= set(FLOORS[: FLOORS.index(floor)]), path
