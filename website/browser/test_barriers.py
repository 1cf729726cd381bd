"""Can a page be used with a keyboard and a screen reader? What axe-core finds; and the tab key."""

import tarfile
from typing import Any

import pytest

from website import fetch

from .test_pages import PAGES, opened


@pytest.fixture(scope="module")
def axe() -> str:
    """The source of axe-core."""
    fetch.CACHE.mkdir(exist_ok=True)
    try:
        with tarfile.open(fetch.fetched(fetch.AXE, fetch.CACHE)) as archive:
            member = archive.extractfile("package/axe.min.js")
            assert member is not None, "the pinned archive has this file"
            return member.read().decode()
    except fetch.NotFetched as error:
        pytest.skip(str(error))


FOUND = """
async () => {
  const { violations } = await axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
  });
  return violations.map(({ id, nodes }) => [id, nodes.slice(0, 4).map((node) => node.html)]);
}
"""


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_no_barrier(browser: Any, base: str, axe: str, path: str) -> None:
    for width, scheme in ((1440, "light"), (390, "dark")):
        with opened(browser, base + path, width, scheme) as (page, _):
            if path.startswith("reference/source/"):  # the first file is enough: all look alike
                page.evaluate(
                    "document.querySelectorAll('.highlight ~ *').forEach(n => n.remove())"
                )
            page.evaluate(axe)
            assert page.evaluate(FOUND) == [], (width, scheme)


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
