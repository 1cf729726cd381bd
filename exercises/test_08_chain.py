"""Exercise 8."""

from exercises import exercise

chain = exercise("ex_08_chain")
LINES = ["order 1 accepted", "order 2 accepted", "order 2 bought 5", "order 1 canceled"]


def test_good_lines_fit():
    assert chain.first_bad(chain.chained(LINES)) is None
    assert chain.first_bad([]) is None


def test_an_edit_is_found_at_its_line():
    for number in range(1, len(LINES) + 1):
        lines = chain.chained(LINES)
        lines[number - 1] = lines[number - 1].replace("order", "ORDER")
        assert chain.first_bad(lines) == number


def test_a_line_that_is_gone_doubled_or_swapped_is_found():
    good = chain.chained(LINES)
    assert chain.first_bad(good[:1] + good[2:]) == 2
    assert chain.first_bad([*good[:2], good[1], *good[2:]]) == 3
    assert chain.first_bad([good[1], good[0], *good[2:]]) == 1


def test_equal_lines_have_different_chains():
    first, second = chain.chained(["tick", "tick"])
    assert first != second


def test_what_a_chain_cannot_show():
    assert chain.first_bad(chain.chained(LINES)[:2]) is None
