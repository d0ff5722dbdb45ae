"""`widget.js` on a page of another origin: one script tag, a button, the call on the page."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from mediaserver.api.context import EntryAccess
from mediaserver.api.origins import Origins
from tests.web.backend import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = """<!doctype html><title>Sick pay</title>
<style>button {{ display: none !important }} * {{ font-size: 3px }}</style>
<h1>Child sick pay</h1><script>var button = 1</script>
<script src="{server}/widget.js" data-entry="site" data-attribute-topic="sick pay" async></script>"""


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_one_script_tag_puts_the_button_on_any_page(browser, backend):
    stack = backend.stack
    url = await backend.foreign_page(PAGE.format(server=stack.origin))
    origin = "/".join(url.split("/")[:3])
    stack.entries["site"] = EntryAccess("site", "Ask us", Origins.of([origin]))
    tab = await browser.new_tab(url)
    page = tab.page
    button = page.get_by_role("button", name="Video call", exact=True)
    await expect(button).to_be_visible()
    await button.click()
    await until(lambda: stack.contacts.callers and backend.leg(backend.caller).frames["audio"] > 5)
    begun = stack.contacts.started[0]
    assert begun["page"].url == url
    assert begun["page"].title == "Sick pay"
    assert begun["attributes"] == {"topic": "sick pay"}
    await expect(page.get_by_role("dialog", name="Ask us")).to_be_visible()
    await page.get_by_role("button", name="Hang up", exact=True).click()
    await page.get_by_role("button", name="Close", exact=True).click()
    await expect(page.get_by_role("dialog", name="Ask us")).to_be_hidden()
    await expect(button).to_be_focused()
    assert tab.errors == []


@pytest.mark.e2e
@pytest.mark.timeout(240)
async def test_a_page_that_is_not_allowed_gets_no_button(browser, backend):
    stack = backend.stack
    stack.entries["site"] = EntryAccess("site", "Ask us", Origins.of(["https://www.example.org"]))
    tab = await browser.new_tab(await backend.foreign_page(PAGE.format(server=stack.origin)))
    await until(lambda: tab.errors)
    await expect(tab.page.get_by_role("status")).to_have_text(
        "Calls cannot be made from this page. Please tell its owner."
    )
    assert await tab.page.get_by_role("button", name="Video call").count() == 0
