"""Every page at two widths, in two schemes: nothing from elsewhere, nothing broken, nothing cut.

And can it be used with a keyboard and a screen reader? What axe-core finds; and the tab key.
"""

import gzip
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urljoin

import pytest

from website import fetch

from .conftest import SITE

PAGES = {
    path.relative_to(SITE).as_posix().removesuffix("index.html"): path
    for path in sorted(SITE.rglob("*.html"))
}
"""The address of each page, and its file."""
VIEWS = [(1440, "light"), (1440, "dark"), (390, "dark"), (390, "light")]
"""Widths and schemes: a page is loaded in the first and brought into the others, one by one."""
HEIGHT = 900
SCHEMES = {"light": "default", "dark": "slate"}
TOO_WIDE = """
() => {
  const wide = [];
  for (const block of document.querySelectorAll(".md-content pre, .md-content pre code")) {
    if (block.scrollWidth > block.clientWidth + 1)
      wide.push(block.textContent.slice(0, 60));
  }
  for (const picture of document.querySelectorAll("figure.pic svg")) {
    const box = picture.getBoundingClientRect();
    for (const text of picture.querySelectorAll("text")) {
      const own = text.getBoundingClientRect();
      if (own.right > box.right + 2 || own.left < box.left - 2 || own.bottom > box.bottom + 2)
        wide.push("picture: " + text.textContent);
      const middle = (own.left + own.right) / 2, line = (own.top + own.bottom) / 2;
      for (const room of picture.querySelectorAll("rect:not(.frame)")) {
        const r = room.getBoundingClientRect();
        const inside = middle > r.left && middle < r.right && line > r.top && line < r.bottom;
        if (inside && (own.left < r.left || own.right > r.right))
          wide.push("box: " + text.textContent);
      }
      if (own.height < 8) wide.push("too small to read: " + text.textContent);
    }
  }
  return wide;
}
"""
BARRIERS = """
async () => {
  const { violations } = await axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
  });
  return violations.map(({ id, nodes }) => [id, nodes.slice(0, 4).map((node) => node.html)]);
}
"""
ALIKE = {
    "reference/source/": ".highlight ~ *",
    "reference/api/": ".doc-object ~ .doc-object",
}
"""Of pages made from source, what looks like what comes before it: axe takes its time."""


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core; empty where it cannot be fetched, which a test of its own tells."""
    fetch.CACHE.mkdir(exist_ok=True)
    try:
        archive = fetch.fetched(fetch.AXE, fetch.CACHE)
    except fetch.NotFetched:
        return ""
    with tarfile.open(archive) as opened_archive:
        member = opened_archive.extractfile("package/axe.min.js")
        assert member is not None, "the pinned archive has this file"
        return member.read().decode()


@contextmanager
def opened(browser: Any, url: str, width: int, scheme: str) -> Iterator[tuple[Any, list[str]]]:
    """A page in a fresh context, and what went wrong in it."""
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    wrong: list[str] = []
    host = url.split("/")[2]
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on(
        "console",
        lambda said: wrong.append(f"console: {said.text}") if said.type == "error" else None,
    )
    page.on(
        "request",
        lambda asked: (
            wrong.append(f"another host: {asked.url}")
            if asked.url.startswith("http") and asked.url.split("/")[2] != host
            else None
        ),
    )
    for _ in range(3):
        wrong.clear()
        page.goto(url)
        page.wait_for_load_state("networkidle")
        # Chromium drops what it is loading when a network of the machine comes or goes.
        if not any("ERR_NETWORK_CHANGED" in said for said in wrong):
            break
    yield page, wrong
    context.close()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_whole_and_without_barriers_at_every_width_and_in_every_scheme(
    browser: Any, base: str, axe: str, path: str
) -> None:
    with opened(browser, base + path, *VIEWS[0]) as (page, wrong):
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert "--8<--" not in page.content()
        for width, scheme in VIEWS:
            show(page, width, scheme)
            room = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert room[0] <= room[1], f"scrolls sideways at {width}: {room}"
            assert page.evaluate(TOO_WIDE) == [], width
            assert wrong == [], (width, scheme)
        if axe:
            for beginning, alike in ALIKE.items():
                if path.startswith(beginning):
                    page.eval_on_selector_all(alike, "nodes => nodes.forEach(n => n.remove())")
            page.evaluate(axe)
            for width, scheme in (VIEWS[-1], VIEWS[1]):
                show(page, width, scheme)
                assert page.evaluate(BARRIERS) == [], (width, scheme)


def show(page: Any, width: int, scheme: str) -> None:
    """Let an opened page be so wide, and in this scheme."""
    page.set_viewport_size({"width": width, "height": HEIGHT})
    if page.get_attribute("body", "data-md-color-scheme") != SCHEMES[scheme]:
        page.click("[data-md-component=palette] label:not([hidden])")
    assert page.get_attribute("body", "data-md-color-scheme") == SCHEMES[scheme]


def test_barriers_were_looked_for(axe: str) -> None:
    if not axe:
        pytest.skip("axe-core cannot be fetched: pages are not searched for barriers")


def test_the_engine_can_be_started_and_stepped_with_the_keyboard_alone(
    browser: Any, base: str
) -> None:
    with opened(browser, base + "learn/05_one_writer/", 1440, "light") as (page, _):
        page.focus(".e-start")
        reached = []
        for _press in range(5):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
        assert reached[:4] == ["first step", "step back", "step forth", "last step"]
        page.focus("[aria-label='step forth']")
        page.keyboard.press("Enter")
        assert "step 1 of 4" in page.text_content(".e-where")


CODE = ("pre", "code", "script", "style", "svg")


class Built(HTMLParser):
    """A built page: what can be linked to in it, what it links to, and its text that is no code."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.prose = ""
        self._code = 0
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._code += tag in CODE
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            if tag == "a" and name == "href" and value:
                self.links.add(value)

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag in CODE

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.prose += data


@pytest.fixture(scope="module")
def built() -> dict[str, Built]:
    """Each page as it was built, by its address."""
    return {path: Built(file) for path, file in PAGES.items()}


def test_no_markdown_is_shown_as_it_was_written(built: dict[str, Built]) -> None:
    assert built
    marks = [(path, mark) for path in built for mark in ("](", "`") if mark in built[path].prose]
    assert marks == []


def test_no_link_is_dead(built: dict[str, Built]) -> None:
    base = "http://site/"
    pages = {base + path: page for path, page in built.items()}
    assert sum(len(page.links) for page in pages.values()) > 1000
    dead = []
    for page, href in [(url, href) for url in pages for href in sorted(pages[url].links)]:
        url, fragment = urldefrag(urljoin(page, href))
        if url in pages:
            state = fragment.startswith(("s=", "__"))  # of the playground, of the theme
            if fragment and fragment not in pages[url].ids and not state:
                dead.append((page, href))
        elif url.startswith(base) and not (SITE / url.removeprefix(base)).is_file():
            dead.append((page, href))
    assert dead == []


def test_the_404_leads_on(browser: Any, base: str) -> None:
    with opened(browser, base + "404.html", 390, "light") as (page, wrong):
        assert page.locator(".md-content a").count() >= 3
        assert wrong == []


@pytest.mark.parametrize("width", [1440, 390])
def test_a_recorded_tour_plays_pauses_and_steps(browser: Any, base: str, width: int) -> None:
    with opened(browser, base + "use/run_it/", width, "light") as (page, wrong):
        tour = page.locator(".tour[data-tour=v2]")
        screen = tour.locator(".t-screen")
        assert "lost" in tour.locator("details pre").text_content()
        tour.get_by_role("button", name="last moment").click()
        assert "Killed" in screen.inner_text()
        tour.get_by_role("button", name="first moment").click()
        assert screen.inner_text().strip() == "$ python v2_event_driven_engine/main.py"
        tour.get_by_role("button", name="moment forth").click()
        assert "Killed" not in screen.inner_text()
        tour.get_by_role("button", name="Play").click()
        page.wait_for_function("document.querySelector('.t-screen').textContent.includes('Killed')")
        tour.get_by_role("button", name="Pause").click()
        assert tour.get_by_role("button", name="Play").is_visible()
        assert wrong == []


def test_the_playground_fills_the_screen(browser: Any, base: str) -> None:
    with opened(browser, base + "use/playground/", 1440, "light") as (page, wrong):
        page.get_by_role("button", name="Full screen").click()
        page.wait_for_function("document.fullscreenElement?.id === 'engine-play'")
        page.get_by_role("button", name="Full screen").click()
        page.wait_for_function("document.fullscreenElement === null")
        assert wrong == []


def test_home_is_light(browser: Any, base: str) -> None:
    """What is sent for the home page, compressed as web servers do: less than 300 KB."""
    with opened(browser, base, 1440, "light") as (page, _):
        urls = page.evaluate("performance.getEntriesByType('resource').map(r => r.name)")
    files = {"index.html", *(url.removeprefix(base).partition("?")[0] for url in urls)}
    sizes = {name: len(gzip.compress((SITE / name).read_bytes())) for name in sorted(files)}
    print(f"home: {sum(sizes.values()):,} bytes in {len(sizes)} files")
    assert sum(sizes.values()) < 300_000, sizes
    assert not any(name.startswith("assets/engine/") for name in files)


def test_every_page_is_in_the_site_and_the_engine_is_not_committed() -> None:
    ignored = Path(".gitignore").read_text(encoding="utf-8").split()
    assert "docs/assets/engine/" in ignored
    assert len(PAGES) > 20
