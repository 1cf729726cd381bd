"""The table of symbols, and who reads it."""

import threading

import pytest

from v2_event_driven_engine import LogDamaged, LogUnavailable, MalformedCommand, StoreError
from v2_event_driven_engine.cluster import table as table_module
from v2_event_driven_engine.cluster.table import OtherPartitions, SymbolTable, Table

from .memory_stream import MemoryStream, NoClock, no_clock


class Ticking(NoClock):
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def table(partitions: int = 3) -> SymbolTable:
    made = SymbolTable(MemoryStream("CTRL"), no_clock)
    made.create(partitions)
    return made


def test_the_number_of_partitions_is_decided_once() -> None:
    stream = MemoryStream("CTRL")
    one = SymbolTable(stream, no_clock)
    with pytest.raises(StoreError, match="no cluster was made here"):
        one.read()
    for wrong in (0, 257):
        with pytest.raises(StoreError, match="expected 1 to 256"):
            one.create(wrong)
    for _ in range(2):
        assert one.create(3) == Table(1, 3, {})
    with pytest.raises(StoreError, match="made with 3 partitions, not with 4"):
        SymbolTable(stream, no_clock).create(4)
    assert len(stream.messages) == 1


def test_new_symbols_go_where_the_fewest_are_and_stay_there() -> None:
    symbols = table()
    assert symbols.assign(["B", "A", "C", "D"]).symbols == {"A": 0, "B": 1, "C": 2, "D": 0}
    assert symbols.assign(["A"]).version == 2
    assert symbols.assign(["E", "A"]) == Table(3, 3, {"A": 0, "B": 1, "C": 2, "D": 0, "E": 1})
    assert symbols.read() == symbols.assign([])


def test_a_restored_cluster_takes_the_places_that_there_were() -> None:
    symbols = table()
    assert symbols.adopt({"A": 2, "B": 2, "C": 0}).symbols == {"A": 2, "B": 2, "C": 0}
    assert symbols.adopt({"A": 1}).symbols["A"] == 2, "a symbol stays"
    assert symbols.assign(["D"]).symbols["D"] == 1


def test_two_who_assign_at_the_same_time_agree() -> None:
    stream = MemoryStream("CTRL")
    one, two = SymbolTable(stream, no_clock), SymbolTable(stream, no_clock)
    one.create(2)
    read = one.read
    calls = 0

    def late() -> Table:
        """What it has read is already old."""
        nonlocal calls
        found = read()
        calls += 1
        if calls == 1:
            two.assign(["X"])
        return found

    one.read = late  # type: ignore[method-assign]
    assert one.assign(["Y"]) == Table(3, 2, {"X": 0, "Y": 1})
    assert (calls, len(stream.messages)) == (3, 3)


def test_many_threads_assign_each_symbol_once() -> None:
    stream = MemoryStream("CTRL")
    SymbolTable(stream, no_clock).create(4)
    lock = threading.Lock()

    class Locked(MemoryStream):
        """The same stream; an attempt is one step."""

        def attempt(self, messages, position):  # type: ignore[no-untyped-def]
            with lock:
                return stream.attempt(messages, position)

    def assign(number: int) -> None:
        view = Locked("CTRL")
        view.messages = stream.messages
        SymbolTable(view, no_clock).assign(f"S{(number + n) % 20}" for n in range(10))

    threads = [threading.Thread(target=assign, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    symbols = SymbolTable(stream, no_clock).read().symbols
    assert len(symbols) == 20
    assert sorted(symbols.values()) == sorted([0, 1, 2, 3] * 5)


def test_a_full_table_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "SYMBOLS_MAX", 3)
    symbols = table()
    symbols.assign(["A", "B", "C"])
    with pytest.raises(MalformedCommand, match=r"^symbol: "):
        symbols.assign(["D"])
    assert symbols.assign(["A"]).version == 2


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b'{"version":7,"partitions":2,"symbols":{}}', b"\xff",
     b'{"version":2,"partitions":2,"symbols":{"A":2}}',
     b'{"version":2,"partitions":2,"symbols":{},"more":1}'],
)  # fmt: skip
def test_what_is_not_a_table_is_refused(data: bytes) -> None:
    stream = MemoryStream("CTRL")
    symbols = SymbolTable(stream, no_clock)
    symbols.create(2)
    stream.messages.append(data)
    with pytest.raises(LogDamaged, match="CTRL, message 2"):
        symbols.read()


def test_a_node_knows_which_symbols_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols, clock = table(), Ticking()
    symbols.assign(["A", "B"])
    others = OtherPartitions(symbols, clock, 1)
    assert [others("A"), others("B"), others("C")] == [2, None, None]
    symbols.assign(["C"])
    assert others("C") is None, "it will look again"
    clock.now = 2.0
    assert others("C") == 3
    symbols.assign(["D"])
    clock.now = 9.0
    with monkeypatch.context() as patched:
        patched.setattr(symbols, "read", unavailable)
        assert others("D") is None
    clock.now = 18.0
    assert others("D") == 4


def unavailable() -> Table:
    raise LogUnavailable("nobody answers")


def test_in_a_cluster_of_one_partition_no_symbol_is_anybody_elses() -> None:
    clock = Ticking()
    others = OtherPartitions(table(1), clock, 0)
    clock.now = 9.0
    assert others("A") is None
