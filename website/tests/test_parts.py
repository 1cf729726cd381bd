"""The stand-in, the map of the log, the verdicts, the bugs, what is recorded, what is fetched."""

import io
import random
import re
import zipfile
from pathlib import Path

import crc32c as real
import pytest

from v2_event_driven_engine.engine.log.format import BATCH_HEADER, SEGMENT_HEADER
from website import bugs, charts, fetch, log_map, record, rules, sources, stories
from website.session import Session
from website.standin.crc32c import crc32c

pytestmark = pytest.mark.once


def test_the_stand_in_is_the_real_crc32c() -> None:
    choose = random.Random(1)
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    for _ in range(3000):
        data = choose.randbytes(choose.randrange(300))
        seed = choose.choice((0, choose.getrandbits(32)))
        assert crc32c(data, seed) == real.crc32c(data, seed)
        assert crc32c(memoryview(data)) == real.crc32c(data)


@pytest.mark.parametrize("chart", charts.CHARTS, ids=lambda chart: chart.name)
def test_the_labels_of_a_chart_fit_beside_its_bars(chart: charts.Chart) -> None:
    """Without a browser, as soon as benchmarks are published; `website/browser` looks closely."""
    labels = re.findall(r'class="small end"[^>]*>([^<]*)<', charts.figure(chart))
    assert labels
    assert [label for label in labels if len(label) > 28] == []


def test_the_map_has_the_sizes_of_the_format() -> None:
    assert sum(field.size for field in log_map.SEGMENT_FIELDS) == SEGMENT_HEADER.size
    assert sum(field.size for field in log_map.BATCH_FIELDS) == BATCH_HEADER.size


def test_the_map_names_every_byte_up_to_the_end_of_the_last_batch() -> None:
    session = Session()
    session.run("sell 1 5@101\nbuy 2 2@101 | buy 3 1@101")
    regions = log_map.regions(session.segment()[1])
    at = 0
    for region in regions:
        assert region["from"] == at
        at = region["to"]
    assert at % 512 == 0
    assert {region["text"] for region in regions} <= set(log_map.texts())


def test_the_map_of_values_reads_what_was_written() -> None:
    session = Session()
    session.run("sell 1 5@101 | buy 2 2@101")
    regions = log_map.regions(session.segment()[1])
    values = {region["name"]: region["value"] for region in regions}
    assert values["first sequence"] == "2"
    assert values["command count"] == "2"
    assert values["durable sequence"] == "1"
    assert "NewOrder" in values["body of batch 2"]


def test_damage_is_on_the_map_and_does_not_end_it() -> None:
    session = Session()
    session.run("sell 1 5@101\nbuy 2 2@101")
    data = bytearray(session.segment()[1])
    data[0x430] ^= 1
    assert log_map.regions(bytes(data))[-1]["text"] == "bad batch"
    data[0x400] ^= 1
    assert log_map.regions(bytes(data))[-1]["text"] == "no batch"
    data[0] ^= 1
    assert [region["text"] for region in log_map.regions(bytes(data))] == ["bad segment"]


@pytest.mark.parametrize(
    "path", sorted(rules.STORIES.glob("4_*.txt"))[:5], ids=lambda path: path.stem
)
def test_all_engines_follow_the_stories(path: Path) -> None:
    assert all(verdict["ok"] for verdict in stories.verdicts(path.read_text(encoding="utf-8")))


def test_a_wrong_story_gets_every_engines_own_answer() -> None:
    verdicts = stories.verdicts("sell 1 5@100\nbuy 2 5@100 => 2 buys 4@100 from 1")
    assert [verdict["ok"] for verdict in verdicts] == [False] * 3
    assert all("'quantity': 5" in verdict["problem"] for verdict in verdicts)


def test_what_is_no_story_is_said() -> None:
    assert stories.verdicts("frob")[0]["problem"].endswith("no such command or question: 'frob'")


def bugs_on_pages() -> list[str]:
    page = (record.DOCS / "learn" / "10_proof.md").read_text(encoding="utf-8")
    return page.partition('<div class="bug">\n<pre>\n')[2].partition("\n</pre>")[0].split("\n")


@pytest.mark.parametrize("name", bugs_on_pages())
def test_a_bug_that_a_page_offers_is_noticed_by_a_scenario_or_said_to_need_more(name: str) -> None:
    outcome = bugs.outcome(name)
    assert outcome["diff"].startswith("-")
    assert outcome["killed"] or name == "time goes backwards with the clock"


def test_after_a_bug_the_engine_is_as_before() -> None:
    bugs.outcome("the youngest order is filled first")
    assert all(
        v["ok"] for v in stories.verdicts("sell 1 1@1\nsell 2 1@1\nbuy 3 1@1 => 3 buys 1@1 from 1")
    )


def test_what_is_recorded_is_what_a_run_gives() -> None:
    wanted = record.recordings()
    there = {path.name: path.read_text(encoding="utf-8") for path in record.RECORDED.iterdir()}
    again = "python -m website.record writes them"
    assert sorted(there) == sorted(wanted), again
    assert [name for name in wanted if there[name] != wanted[name]] == [], again
    pages = {path.name: path.read_text(encoding="utf-8") for path in record.SOURCE_PAGES.iterdir()}
    assert pages == sources.pages(), again
    for name, text in record.generated().items():
        assert (record.GENERATED / name).read_text(encoding="utf-8") == text, again


def test_every_scenario_is_beside_one_rule_and_every_rule_has_something_beside_it() -> None:
    _, found = rules.read_rules()
    named = [story for rule in found for story in rule.stories]
    assert sorted(named) == sorted(path.stem for path in rules.STORIES.glob("*.txt"))
    assert [rule.text for rule in found if not rule.stories and not rule.tests] == []
    tests = {test for rule in found for test in rule.tests}
    assert [test for test in sorted(tests) if not (rules.PROJECT / test).exists()] == []


def test_the_rules_are_the_rulebook_word_for_word() -> None:
    _, found = rules.read_rules()
    book = (record.DOCS / "rulebook.md").read_text(encoding="utf-8")
    parts = dict(re.findall(r"^## (\d)\.[^\n]*\n(.*?)(?=^## |\Z)", book, re.MULTILINE | re.DOTALL))
    sections = {
        number: " ".join(re.sub(r"^(?:- |\d\. )", "", text, flags=re.MULTILINE).split())
        for number, text in parts.items()
    }
    assert [rule.text for rule in found if rule.text not in sections[rule.section]] == []
    for number in "14567":
        assert " ".join(rule.text for rule in found if rule.section == number) == sections[number]


def test_the_map_has_every_file_of_both_versions() -> None:
    there = {
        path.relative_to(sources.PROJECT).as_posix()
        for package in sources.PACKAGES
        for path in (sources.PROJECT / package).rglob("*.py")
        if "tests" not in path.parts
    }
    roots = {f"{package}/__init__.py" for package in sources.PACKAGES}
    tours = {"v2_event_driven_engine/engine/__init__.py"}
    assert set(sources.addresses()) == there - roots - tours


def test_a_file_of_another_hash_is_refused(tmp_path: Path) -> None:
    pinned = fetch.Pinned("a.txt", "0" * 64, ("cp", str(Path(__file__)), "a.txt"))
    with pytest.raises(fetch.NotFetched, match="its hash is"):
        fetch.fetched(pinned, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_tool_that_is_missing_is_named(tmp_path: Path) -> None:
    pinned = fetch.Pinned("a.txt", "0" * 64, ("no-such-tool-anywhere",))
    with pytest.raises(fetch.NotFetched, match="no-such-tool-anywhere is not installed"):
        fetch.fetched(pinned, tmp_path)


def test_a_tool_that_fails_is_quoted(tmp_path: Path) -> None:
    pinned = fetch.Pinned("a.txt", "0" * 64, ("cp", "nothing", "a.txt"))
    with pytest.raises(fetch.NotFetched, match="nothing"):
        fetch.fetched(pinned, tmp_path)


def test_the_archive_for_the_page_has_the_files_of_wheels_too(tmp_path: Path) -> None:
    wheel = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a/__init__.py", "x = 1")
    fetch.packages_zip(tmp_path / "all.zip", (wheel,))
    assert zipfile.ZipFile(tmp_path / "all.zip").read("a/__init__.py") == b"x = 1"


def test_the_source_for_the_page_is_complete_and_always_the_same(tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        fetch.packages_zip(tmp_path / name)
    one, two = ((tmp_path / name).read_bytes() for name in ("one.zip", "two.zip"))
    assert one == two
    names = zipfile.ZipFile(io.BytesIO(one)).namelist()
    assert "crc32c.py" in names
    assert "v2_event_driven_engine/tests/simulated_disk.py" in names
    assert "shared_tests/planted_bugs/bugs.txt" in names
