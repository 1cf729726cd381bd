"""Exercise 3."""

import sys
from collections.abc import Callable

from exercises import exercise

Queue = exercise("ex_03_queue").Queue


def lines_run(work: Callable[[], object]) -> int:
    """How many lines of Python the work runs: a measure that no machine changes."""
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)
    return lines


def filled(size: int):
    queue = Queue()
    for order_id in range(1, size + 1):
        queue.join(order_id)
    return queue


def test_the_oldest_is_first():
    queue = filled(3)
    assert queue.first() == 1
    queue.leave(1)
    assert queue.first() == 2


def test_one_may_leave_from_the_middle_and_the_end():
    queue = filled(4)
    queue.leave(2)
    queue.leave(4)
    queue.leave(1)
    assert queue.first() == 3
    queue.leave(3)
    assert queue.first() is None


def test_who_comes_back_is_the_youngest():
    queue = filled(2)
    queue.leave(1)
    queue.join(1)
    assert queue.first() == 2


def test_leaving_does_not_look_at_the_others():
    small, large = filled(10), filled(1_000)
    assert lines_run(lambda: small.leave(5)) == lines_run(lambda: large.leave(500))


def test_the_first_is_found_without_a_walk_after_many_have_left():
    queue = filled(1_000)
    for order_id in range(1, 999):
        queue.leave(order_id)
    assert lines_run(queue.first) == lines_run(filled(2).first)
