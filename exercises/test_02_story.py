"""Exercise 2."""

from exercises import exercise
from website.bugs import fails_with
from website.stories import verdicts

STORY = exercise("ex_02_story").STORY.strip()
BUG = "the youngest order is filled first"


def test_every_engine_follows_the_story():
    assert [verdict["problem"] for verdict in verdicts(STORY) if not verdict["ok"]] == []


def test_an_engine_with_the_bug_does_not():
    assert fails_with(BUG, STORY)
