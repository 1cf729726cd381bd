"""A site that was built without the engine says so, and shows its recorded runs."""

from typing import Any

from .test_pages import opened


def test_without_the_engine_the_page_says_so_and_keeps_the_recorded_run(
    browser: Any, base: str
) -> None:
    with opened(browser, base + "learn/05_one_writer/", 1440, "light") as (page, _):
        page.context.route(
            "**/assets/engine/manifest.json", lambda route: route.fulfill(status=404)
        )
        page.click(".e-start")
        page.wait_for_function(
            "document.querySelector('.e-status').textContent.includes('built without the engine')"
        )
        assert "recorded run" in page.text_content(".e-status")
        page.get_by_role("button", name="step forth", exact=True).click()
        assert "step 1 of 4" in page.text_content(".e-where")
        assert page.locator(".e-row").count() > 10
