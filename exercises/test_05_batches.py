"""Exercise 5."""

from exercises import exercise

batches = exercise("ex_05_batches").batches


def test_one_alone():
    assert batches([3], 10) == [[3]]


def test_what_comes_during_a_sync_shares_the_next():
    assert batches([0, 1, 2, 9], 10) == [[0], [1, 2, 9]]


def test_what_comes_at_the_end_of_a_sync_is_in_time():
    assert batches([0, 10], 10) == [[0], [10]]
    assert batches([0, 5, 10], 10) == [[0], [5, 10]]


def test_an_idle_writer_takes_each_at_once():
    assert batches([0, 20, 40], 10) == [[0], [20], [40]]


def test_under_load_the_batches_grow_without_a_setting():
    sizes = [len(batch) for batch in batches(list(range(1_000)), 100)]
    assert sizes == [1, *[100] * 9, 99]


def test_nothing():
    assert batches([], 10) == []
