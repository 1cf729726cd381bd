"""The engine in the page: it trades, cancels, crashes, recovers, refuses damage."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from website.session import Session

from .conftest import SITE
from .test_pages import opened

ABSENT = not (SITE / "assets" / "engine" / "manifest.json").exists()
READY_SECONDS = 120
MANY = 8
"""More of one page are not started: a page with all scenarios has a button for all."""
pytestmark = pytest.mark.skipif(
    ABSENT, reason="the engine was not fetched: website/fetch.py says why"
)


def test_a_page_compiles_nothing() -> None:
    engine = SITE / "assets" / "engine"
    assert not [name for name in names(engine / "python_stdlib.zip") if name.endswith(".py")]
    packages = names(engine / "packages.zip")
    compiled = [name for name in packages if name.endswith(".pyc")]
    assert len(compiled) == len([name for name in packages if name.endswith(".py")]) > 50


def names(archive: Path) -> list[str]:
    return zipfile.ZipFile(archive).namelist()


@pytest.fixture(scope="module")
def live(browser: Any, base: str) -> Iterator[Any]:
    """The playground, with the engine started."""
    with opened(browser, base + "use/playground/", 1440, "light") as (page, wrong):
        page.click("#engine-play .e-start")
        page.wait_for_selector("#engine-play .e-input:enabled", timeout=READY_SECONDS * 1000)
        print(page.text_content("#engine-play .e-status"))
        yield page
        assert wrong == []


@pytest.fixture
def play(live: Any) -> Any:
    """The playground, empty."""
    live.click("text=Empty")
    live.wait_for_function("document.querySelectorAll('.e-lines li').length === 1")
    return live


def send(page: Any, *lines: str) -> str:
    """Send lines through the input; what was said to the last one."""
    for line in lines:
        count = page.locator(".e-lines li").count()
        page.fill(".e-input", line)
        page.press(".e-input", "Enter")
        page.wait_for_function(f"document.querySelectorAll('.e-lines li').length > {count}")
    return str(page.locator(".e-lines li").last.inner_text())


def press(page: Any, name: str) -> str:
    """Press a button; what was said to the line that it wrote."""
    count = page.locator(".e-lines li").count()
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_function(f"document.querySelectorAll('.e-lines li').length > {count}")
    return str(page.locator(".e-lines li").last.inner_text())


def test_it_trades_and_cancels(play: Any) -> None:
    assert "2 buys 2@101 from 1" in send(play, "sell 1 5@101", "buy 2 2@101")
    assert "#1 3" in play.locator(".e-book").inner_text()
    assert "1 canceled 3 USER" in send(play, "cancel 1")
    assert "empty" in play.locator(".e-book").inner_text()


def test_it_loses_power_and_loses_nothing_that_was_answered(play: Any) -> None:
    send(play, "sell 1 5@101", "buy 2 2@101")
    assert "nobody got an answer" in press(play, "Send, and cut the power before the sync")
    assert "no power" in play.locator(".e-down").first.inner_text()
    play.select_option("[aria-label='what the disk kept']", "torn")
    press(play, "Power returns")
    assert "torn tail" in press(play, "Recover")
    assert "lost: none" in play.locator(".e-lines li").last.inner_text()


def test_it_refuses_damage(play: Any) -> None:
    send(play, "sell 1 5@101", "buy 2 2@101")
    press(play, "Flip a bit")
    press(play, "Pull the plug")
    play.select_option("[aria-label='what the disk kept']", "kept")
    press(play, "Power returns")
    assert "refused: LogDamaged" in press(play, "Recover")


def test_an_edit_of_the_trail_is_found(play: Any) -> None:
    send(play, "sell 1 5@101", "buy 2 2@101", "!idle")
    press(play, "Write the trail")
    press(play, "Edit line 2")
    assert "line 2: edited" in press(play, "Verify the trail")


def test_a_wrong_line_gets_a_sentence(play: Any) -> None:
    assert "no such command or question" in send(play, "frob 1")
    assert "participant: missing" in send(play, '{"command":"cancel","order_id":1}')


def test_one_can_step_back_and_forth(play: Any) -> None:
    send(play, "sell 1 5@101", "buy 2 5@101")
    play.get_by_role("button", name="step back", exact=True).click()
    assert "#1 5" in play.locator(".e-book").inner_text()
    play.get_by_role("button", name="step forth", exact=True).click()
    assert "empty" in play.locator(".e-book").inner_text()


def test_the_past_is_replayed_from_the_log(play: Any) -> None:
    send(play, "sell 1 5@101", "buy 2 5@101")
    play.locator(".e-replay input").fill("2")
    play.wait_for_function("document.querySelector('.e-book').innerText.includes('#1 5')")


def test_the_address_keeps_what_was_done(play: Any, browser: Any) -> None:
    send(play, "sell 1 5@101", "buy 2 2@101")
    assert play.url.endswith("#s=sell%201%205%40101%0Abuy%202%202%40101")


def test_an_answer_takes_less_than_a_moment(play: Any) -> None:
    times = []
    for number in range(1, 12):
        send(play, f"buy {number} 1@{90 + number % 5}")
        times.append(int(play.get_attribute("#engine-play", "data-milliseconds")))
    print(f"answers in milliseconds: {sorted(times)}")
    assert sorted(times)[len(times) // 2] < 1_000


def test_the_page_gives_the_frames_that_cpython_gives(play: Any) -> None:
    script = "sell 1 5@101\nbuy 2 2@101\n!audit\n!unsynced buy 3 1@101\n!power torn\n!recover"
    frames = play.evaluate(
        """async (script) => {
          const worker = new Worker('/assets/worker.mjs', {type: 'module'});
          worker.postMessage({id: 1, name: 'page_begin', args: ['x', script]});
          return await new Promise((resolve, reject) => {
            worker.onmessage = ({data}) => {
              if (!data.id) return;
              worker.terminate();
              data.error ? reject(data.error) : resolve(data.result);
            };
          });
        }""",
        script,
    )
    session = Session()
    expected = [session.frame(), *session.run(script)]
    assert json.dumps(frames) == json.dumps(expected)


@pytest.mark.parametrize(
    "path",
    sorted(
        page.relative_to("docs").as_posix().removesuffix(".md")
        for page in Path("docs").rglob("*.md")
        if any(
            f'<div class="{kind}"' in page.read_text(encoding="utf-8")
            for kind in ("engine", "story", "stories", "bug")
        )
    ),
)
def test_every_try_it_here_runs(browser: Any, base: str, path: str) -> None:
    path = "" if path == "index" else f"{path}/"
    with opened(browser, base + path, 390, "dark") as (page, wrong):
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for index in range(min(page.locator(".e-start").count(), MANY)):
            page.locator(".e-start").nth(index).click()
            page.wait_for_function(
                f"document.querySelectorAll('.e-status')[{index}].textContent.startsWith('Live')",
                timeout=READY_SECONDS * 1000,
            )
        assert page.locator(".e-verdict.e-bad").count() == 0
        assert wrong == []
        room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert room[0] <= room[1]


def test_a_bug_is_planted_and_noticed(browser: Any, base: str) -> None:
    with opened(browser, base + "learn/10_proof/", 1440, "light") as (page, wrong):
        page.click(".e-start")
        page.wait_for_selector("text=Plant it >> visible=true")
        page.wait_for_function(
            "!document.querySelector('.bug select').disabled", timeout=READY_SECONDS * 1000
        )
        page.click("text=Plant it")
        page.wait_for_selector(".bug .e-said.e-good", timeout=READY_SECONDS * 1000)
        assert "scenarios fail" in page.locator(".bug .e-said").inner_text()
        assert wrong == []


def test_all_scenarios_of_a_page_run_on_three_engines(browser: Any, base: str) -> None:
    stories = len(list(Path("shared_tests/scenarios/stories").glob("*.txt")))
    with opened(browser, base + "reference/scenarios/", 1440, "light") as (page, wrong):
        page.click(".stories .e-start")
        page.wait_for_selector(".stories .e-said", timeout=READY_SECONDS * 1000)
        said = page.locator(".stories .e-said").inner_text()
        assert said.startswith(f"{3 * stories} runs in ")
        assert said.endswith(f"{3 * stories} as expected, 0 not")
        assert wrong == []
