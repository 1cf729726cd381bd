"""Exercise 4."""

from exercises import exercise

interleavings = exercise("ex_04_interleavings").interleavings


def test_all_of_them_each_once():
    found = [tuple(steps) for steps in interleavings("ab", "xyz")]
    assert len(found) == len(set(found)) == 10


def test_each_thread_keeps_its_order():
    for steps in interleavings("ab", "xy"):
        assert steps.index("a") < steps.index("b")
        assert steps.index("x") < steps.index("y")


def test_a_thread_without_steps():
    assert list(interleavings("", "xy")) == [["x", "y"]]


def sold(steps: list[tuple[str, str]]) -> int:
    """Two buyers of 5 lots, one seller of 5, and no lock: how many lots are sold."""
    book = 5
    seen = {}
    total = 0
    for thread, step in steps:
        if step == "read":
            seen[thread] = book
        elif seen[thread] >= 5:
            book = seen[thread] - 5
            total += 5
    return total


def test_the_race_of_the_picture_is_among_them():
    one = [("A", "read"), ("A", "trade")]
    two = [("B", "read"), ("B", "trade")]
    results = sorted(sold(steps) for steps in interleavings(one, two))
    assert results == [5, 5, 10, 10, 10, 10]
