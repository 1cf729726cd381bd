"""Exercise 7."""

import pytest

from exercises import exercise

judge = exercise("ex_07_judge").judge


@pytest.mark.parametrize(
    ("places", "verdict"),
    [
        ([], "clean"),
        (["batch", "batch", "zeros"], "clean"),
        (["batch", "other", "zeros"], "torn"),
        (["other"], "torn"),
        (["batch", "other", "batch", "zeros"], "damaged"),
        (["batch", "zeros", "batch"], "damaged"),
        (["zeros", "zeros"], "clean"),
        (["batch", "zeros", "other"], "torn"),
        (["batch", "other", "zeros", "other", "batch"], "damaged"),
    ],
)
def test_the_judgement(places, verdict):
    assert judge(places) == verdict
