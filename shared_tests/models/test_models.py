"""Every model keeps its claims in every state; every planted mistake is found."""

import re
from pathlib import Path

import pytest

from ..programs.program import ROOT
from .check import MISTAKES, MODELS, SETTINGS, ModelUnchecked, Setting, check, missing, version
from .page import PICTURE, PICTURED, TABLE, picture, row

pytestmark = pytest.mark.once
needs_spin = pytest.mark.skipif(bool(missing()), reason=missing())

HEAD = re.compile(r"What it abstracts \((\S+)/\)")
CITED = re.compile(r"^     ([\w/]+\.py)?  +(\S.*?)  ", re.MULTILINE)


def same_spin() -> bool:
    """Whether the page was written with the Spin that is here: another may count otherwise."""
    return version() in TABLE.read_text(encoding="utf-8")


@needs_spin
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_model_keeps_its_claims_in_every_state(setting: Setting, tmp_path: Path) -> None:
    outcome = check(setting, tmp_path)
    assert (outcome.claim, outcome.story) == (0, ())
    assert outcome.unreached == ()
    print(f"\n{row(setting, outcome)}", end="")
    if same_spin():
        assert f"| {setting.name} | {outcome.states:,} |" in TABLE.read_text(encoding="utf-8")


@needs_spin
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.macros[0])
def test_a_planted_mistake_is_found(mistake: Setting, tmp_path: Path) -> None:
    outcome = check(mistake, tmp_path)
    assert outcome.claim == mistake.offends
    assert outcome.story
    print(f"\n{row(mistake, outcome)}", end="")
    if same_spin() and mistake == PICTURED:
        assert picture(outcome) == PICTURE.read_text(encoding="utf-8")


@pytest.mark.parametrize("model", sorted(MODELS.glob("*.pml")), ids=lambda model: model.stem)
def test_a_model_names_its_mistakes_and_each_is_planted(model: Path) -> None:
    text = model.read_text(encoding="utf-8")
    planted = {macro for each in MISTAKES if each.model == model.stem for macro in each.macros}
    names = text[text.index("Planted mistakes:") : text.index("*/")]
    assert set(re.findall(r"\b[A-Z_]{7,}\b", names)) == planted
    assert all(f"def {name}\n" in text for name in planted)


@pytest.mark.parametrize("model", sorted(MODELS.glob("*.pml")), ids=lambda model: model.stem)
def test_what_a_model_abstracts_is_in_the_source(model: Path) -> None:
    head = model.read_text(encoding="utf-8").partition("*/")[0]
    folder = HEAD.search(head)
    assert folder is not None
    if not (ROOT / folder[1]).is_dir():
        pytest.skip(f"{folder[1]} is not there")
    source, found = "", 0
    for file, names in CITED.findall(head):
        source = (ROOT / folder[1] / file).read_text(encoding="utf-8") if file else source
        for cited in re.findall(r"\w+", names):
            assert re.search(rf"(def|class) {cited}\b", source), f"{file}: {cited}"
            found += 1
    assert found >= 10


@needs_spin
def test_a_search_that_is_cut_short_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared_tests.models.check.DEPTH_MAX", 50)
    with pytest.raises(ModelUnchecked, match="max search depth too small"):
        check(SETTINGS[0], tmp_path)


@needs_spin
def test_statements_that_no_run_reaches_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = "active proctype p() { byte x; if :: x == 0 :: x == 1 -> x = 2 fi }"
    (tmp_path / "small.pml").write_text(model, encoding="utf-8")
    monkeypatch.setattr("shared_tests.models.check.MODELS", tmp_path)
    (tmp_path / "work").mkdir()
    assert check(Setting("small", "small"), tmp_path / "work").unreached == ("line 1: x = 2",)
