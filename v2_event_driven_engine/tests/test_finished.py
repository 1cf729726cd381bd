"""An id names one order for ever, and costs a byte where ids are dense, never much more than 84."""

import gc
import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from v2_event_driven_engine import (
    CancelOrder,
    ListInstrument,
    NewOrder,
    OrderStatus,
    OrderType,
    RejectReason,
    Side,
    StoreError,
)
from v2_event_driven_engine.engine.event_log import START
from v2_event_driven_engine.engine.events import (
    AnyEvent,
    CancelRejected,
    OrderCanceled,
    OrderRejected,
)
from v2_event_driven_engine.engine.log import snapshot
from v2_event_driven_engine.engine.market import finished as module
from v2_event_driven_engine.engine.market.finished import (
    BLOCK,
    DENSE,
    END_OF_BLOCKS,
    YOUNG_BLOCKS,
    FinishedOrders,
)
from v2_event_driven_engine.engine.market.matcher import Matcher

TERMINAL = (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED)
LARGEST = 2**63 - 1


def with_all(ids: Iterable[int], status: OrderStatus = OrderStatus.FILLED) -> FinishedOrders:
    finished = FinishedOrders()
    for order_id in ids:
        finished.add(order_id, status)
    return finished


def copied(finished: FinishedOrders) -> FinishedOrders:
    """As a snapshot carries it."""
    copy = FinishedOrders()
    copy.restore(finished.dense_blocks(), finished.sparse)
    return copy


def assert_well_formed(finished: FinishedOrders) -> None:
    assert finished.end == len(finished.start) == finished.end // module.BLOCK * module.BLOCK
    assert finished.end // module.BLOCK not in finished.blocks
    assert all(number > finished.end // module.BLOCK for number in finished.blocks)
    assert all(len(block) == module.BLOCK for block in finished.blocks.values())


# -- What it answers ------------------------------------------------------------------------------

STARTS = st.one_of(
    st.integers(1, 8),
    st.integers(1, 100),
    st.integers(10**12, 10**12 + 40),
    st.integers(END_OF_BLOCKS - 40, END_OF_BLOCKS),
    st.integers(1, LARGEST),
)
RUNS = st.lists(st.tuples(STARTS, st.integers(1, 3), st.integers(1, 12)), max_size=20)
"""Ids that count up: the first one, from each to the next, and how many."""


@given(RUNS)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_it_answers_as_a_dictionary_would_whatever_the_ids(
    runs: list[tuple[int, int, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 8)
        patch.setattr(module, "DENSE", 3)
        patch.setattr(module, "YOUNG_BLOCKS", 4)
        finished = FinishedOrders()
        model: dict[int, OrderStatus] = {}
        for first, step, count in runs:
            for order_id in range(first, min(first + step * count, LARGEST + 1), step):
                if order_id not in model:
                    model[order_id] = TERMINAL[len(model) % len(TERMINAL)]
                    finished.add(order_id, model[order_id])
                assert finished.status(order_id) is model[order_id]
                assert_well_formed(finished)
        neighbours = {order_id + step for order_id in model for step in (-8, -1, 1, 8)}
        for each in (finished, copied(finished), copied(copied(finished))):
            assert_well_formed(each)
            assert sorted(each) == sorted(model)
            assert each.bound() >= max(model, default=0)
            for order_id in model.keys() | neighbours:
                if 0 < order_id <= LARGEST:
                    assert each.status(order_id) is model.get(order_id, OrderStatus.UNKNOWN)
                    assert each.number(order_id) == model.get(order_id, 0)


def test_blocks_that_become_dense_in_any_order_end_up_in_one_piece() -> None:
    finished = FinishedOrders()
    for number in (2, 1, 3, 0):
        for offset in range(DENSE):
            finished.add(number * BLOCK + offset + 1, OrderStatus.CANCELED)
        assert finished.end == (4 * BLOCK if number == 0 else 0)
    assert (finished.blocks, finished.sparse) == ({}, {})


def test_as_many_blocks_as_are_counted_become_dense_side_by_side() -> None:
    numbers = range(1, YOUNG_BLOCKS + 1)
    finished = with_all(number * BLOCK + offset for offset in range(DENSE) for number in numbers)
    assert (list(finished.blocks), finished.sparse) == (list(numbers), {})


def test_of_a_block_the_zeros_at_the_end_are_left_out() -> None:
    finished = with_all(range(2 * BLOCK + 1, 2 * BLOCK + 1 + DENSE), OrderStatus.EXPIRED)
    assert finished.dense_blocks() == {2: bytes([0, *[OrderStatus.EXPIRED] * DENSE])}


def test_an_id_that_came_before_its_block_was_dense_and_forgotten_is_still_known() -> None:
    far = 10**10 * BLOCK
    finished = with_all([far, *(number * 2 * BLOCK for number in range(1, YOUNG_BLOCKS + 1))])
    for order_id in range(far + 1, far + 1 + DENSE):
        finished.add(order_id, OrderStatus.EXPIRED)
    assert far // BLOCK in finished.blocks
    assert finished.status(far) is OrderStatus.FILLED
    assert sorted(finished)[-DENSE - 1 :] == list(range(far, far + DENSE + 1))


@pytest.mark.parametrize(
    "ids",
    [[], [1], range(1, DENSE + 1), range(1, BLOCK), range(2 * BLOCK, 2 * BLOCK + DENSE), [LARGEST]],
    ids=["none", "sparse", "dense", "a full block", "dense farther on", "the largest"],
)
def test_what_is_restored_is_in_the_same_place_with_the_same_status(ids: Iterable[int]) -> None:
    finished = with_all(ids, OrderStatus.EXPIRED)
    copy = copied(finished)
    assert (copy.start, copy.end) == (finished.start, finished.end)
    assert (copy.blocks, copy.sparse) == (finished.blocks, finished.sparse)


@pytest.mark.parametrize(
    ("order_id", "status"),
    [
        (0, OrderStatus.FILLED),
        (-1, OrderStatus.FILLED),
        (5, OrderStatus.UNKNOWN),
        (5, OrderStatus.NEW),
    ],
)
def test_what_has_not_finished_is_not_restored(order_id: int, status: OrderStatus) -> None:
    with pytest.raises(ValueError, match=f"^order {order_id} is none that has finished$"):
        FinishedOrders().restore({}, {order_id: status})


@pytest.mark.parametrize("count", [1, DENSE], ids=["sparse", "dense"])
def test_the_same_orders_with_the_same_statuses_are_the_same_wherever_they_are(count: int) -> None:
    ids = range(1, count + 1)
    finished = with_all(ids)
    another = FinishedOrders()
    another.sparse = dict.fromkeys(ids, OrderStatus.FILLED)
    assert FinishedOrders().same_as(FinishedOrders())
    for same in (finished, copied(finished), another):
        assert finished.same_as(same)
        assert same.same_as(finished)
    for different in (
        with_all([*ids, count + 1]),
        with_all(range(1, count)),
        with_all(ids, OrderStatus.EXPIRED),
    ):
        assert not finished.same_as(different)
        assert not different.same_as(finished)


@pytest.mark.parametrize(
    ("ids", "bound"),
    [
        ([], 0),
        ([1], 1),
        (range(1, DENSE), DENSE - 1),
        (range(1, DENSE + 1), BLOCK),
        (range(2 * BLOCK, 2 * BLOCK + DENSE), 3 * BLOCK),
        ([*range(2 * BLOCK, 2 * BLOCK + DENSE), 5 * BLOCK + 1], 5 * BLOCK + 1),
    ],
)
def test_the_bound_is_the_largest_id_or_the_end_of_its_dense_block(
    ids: Iterable[int], bound: int
) -> None:
    assert with_all(ids).bound() == bound


# -- What it costs --------------------------------------------------------------------------------


def bytes_per_id(ids: Iterable[int], count: int) -> float:
    gc.collect()
    tracemalloc.start()
    finished = with_all(ids)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(finished.sparse) + sum(map(len, finished.dense_blocks().values())) >= count
    return held / count


@pytest.mark.parametrize("first", [1, 20_240_612_000_001], ids=["from 1", "from a date"])
def test_ids_that_count_up_cost_little_more_than_a_byte(first: int) -> None:
    count = 20 * BLOCK
    assert bytes_per_id(range(first, first + count), count) < 4


@pytest.mark.parametrize(
    ("step", "in_a_row"),
    [(BLOCK, 1), (BLOCK // DENSE * 2, 1), (BLOCK // DENSE, 1), (BLOCK, DENSE - 1), (BLOCK, DENSE)],
)
def test_no_pattern_of_ids_makes_an_id_cost_much_more_than_in_a_dictionary(
    step: int, in_a_row: int
) -> None:
    count = 4_000 + 1_000 * in_a_row
    start = 2**47
    ids = (start + n // in_a_row * step + n % in_a_row for n in range(count))
    assert bytes_per_id(ids, count) < 200


def test_memory_for_young_blocks_is_bounded() -> None:
    finished = with_all(number * BLOCK for number in range(1, 3 * YOUNG_BLOCKS))
    assert len(finished._young) <= YOUNG_BLOCKS


# -- In the matcher and in snapshots --------------------------------------------------------------


class Market:
    def __init__(self) -> None:
        self.matcher = Matcher()
        self.matcher.apply(1, 0, [ListInstrument("A", "1", "1")])

    def enter(self, order_id: int, symbol: str = "A") -> AnyEvent:
        new = NewOrder(order_id, 1, symbol, Side.BUY, OrderType.LIMIT, 1, 1)
        return self.matcher.apply(self.matcher.sequence + 1, 0, [new])[0][0]

    def cancel(self, order_id: int) -> AnyEvent:
        return self.matcher.apply(self.matcher.sequence + 1, 0, [CancelOrder(order_id, 1)])[0][0]


@pytest.mark.parametrize(
    "ids",
    [
        range(1, 3 * DENSE),
        range(3 * DENSE, 0, -1),
        range(LARGEST - 3 * DENSE, LARGEST + 1),
        [n * 7_919_777_777_777_777 % LARGEST for n in range(1, 100)],
    ],
    ids=["up", "down", "the largest", "anyhow"],
)
@pytest.mark.parametrize("restored", [False, True])
def test_an_id_is_used_once_in_whatever_order_ids_come(ids: Iterable[int], restored: bool) -> None:
    market = Market()
    expected: dict[int, OrderStatus] = {}
    for number, order_id in enumerate(ids):
        market.enter(order_id, "UNKNOWN" if number % 5 == 4 else "A")
        expected[order_id] = OrderStatus.REJECTED if number % 5 == 4 else OrderStatus.NEW
        if number % 5 in (0, 1):
            market.cancel(order_id)
            expected[order_id] = OrderStatus.CANCELED
    if restored:
        market.matcher = snapshot.restore(taken(market.matcher))
    market.matcher.check_invariants()
    for order_id, status in expected.items():
        again = market.enter(order_id)
        assert isinstance(again, OrderRejected)
        assert again.reason is RejectReason.DUPLICATE_ORDER_ID
        assert market.matcher.order(order_id).status is status
        if status is not OrderStatus.NEW:
            refused = market.cancel(order_id)
            assert isinstance(refused, CancelRejected)
            assert refused.reason is RejectReason.TOO_LATE
    market.matcher.check_invariants()


@pytest.mark.parametrize("end", ["canceled", "filled"])
def test_an_order_may_have_the_first_id_after_the_dense_blocks(
    monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setattr(module, "DENSE", 3)
    market = Market()
    for order_id in (1, 2, 3):
        market.enter(order_id)
        market.cancel(order_id)
    first_after = market.matcher.finished.end
    assert first_after == 8
    market.enter(first_after)
    assert market.matcher.finished.status(first_after) is OrderStatus.UNKNOWN
    if end == "canceled":
        assert isinstance(market.cancel(first_after), OrderCanceled)
    else:
        sell = NewOrder(9, 2, "A", Side.SELL, OrderType.LIMIT, 1, 1)
        market.matcher.apply(market.matcher.sequence + 1, 0, [sell])
    assert market.matcher.order(first_after).status.name == end.upper()
    assert market.matcher.finished.sparse[first_after].name == end.upper()
    market.matcher.check_invariants()


def taken(matcher: Matcher) -> snapshot.Snapshot:
    return snapshot.take(matcher, timestamp_ns=0, place=START, closed=False, unrecorded=[])


@pytest.mark.parametrize(
    "blocks",
    [{0: b"\x08"}, {0: b"\x01"}, {0: bytes(BLOCK + 1)}, {-1: b""}],
    ids=["no status", "not terminal", "too long", "before the first id"],
)
def test_a_snapshot_with_a_block_that_is_none_is_refused(blocks: dict[int, bytes]) -> None:
    good = taken(Market().matcher)
    fields = {name: getattr(good, name) for name in good.__struct_fields__}
    with pytest.raises(StoreError, match=r"^snapshot\.0+1: block -?\d is no block of finished"):
        snapshot.restore(snapshot.Snapshot(**fields | {"dense_blocks": blocks}))


# -- A market that goes ---------------------------------------------------------------------------


def test_a_market_that_goes_leaves_nothing_behind_though_the_collector_sees_no_orders() -> None:
    tracemalloc.start()
    market = Market()
    for order_id in range(1, 50_000):  # one queue, which must not be taken apart by recursion
        market.enter(order_id)
    held = tracemalloc.get_traced_memory()[0]
    del market
    gc.collect()
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert left < held / 20
