"""Fixtures of the pages in a browser."""

import pytest

from cnnlab.playground.lesson import write_lesson


@pytest.fixture
def lesson(browser, tmp_path):
    """Open a lesson; what it asks for or complains of fails the test."""
    asked, errors, pages = [], [], []

    def opened(name: str, **options):
        page = browser.new_page(offline=True, **{"viewport": {"width": 1200, "height": 900}, **options})
        page.set_default_timeout(5000)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text))
        page.goto(f"file://{write_lesson(name, tmp_path)}")
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert not errors
    assert all(url.startswith(("file:", "data:")) for url in asked)
