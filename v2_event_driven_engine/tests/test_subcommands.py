"""A subcommand is documented where people look for it, and known to the tests of all of them."""

import re
from pathlib import Path

import pytest

from v2_event_driven_engine.main import parser

from .subcommands import READING, WRITING, subcommands

PACKAGE = Path(__file__).resolve().parents[1]
PAGES = [PACKAGE / "README.md", PACKAGE.parent / "docs" / "rulebook.md"]


def test_the_tests_know_of_every_subcommand_whether_it_only_reads() -> None:
    assert sorted(subcommands()) == sorted(READING + WRITING)


def test_the_tour_says_how_to_go_on_by_a_command_that_can_be_typed() -> None:
    assert parser("main.py").parse_args([]).run_by == "python main.py"
    assert parser("order-matching").parse_args([]).run_by == "order-matching"


@pytest.mark.parametrize("name", subcommands())
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_subcommand_is_documented(page: Path, name: str) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.search(rf"`(python main\.py )?{name}\b", text), f"{page} does not know {name}"
