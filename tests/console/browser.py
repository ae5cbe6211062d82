"""The browser for tests and screenshots of the console, and the service behind it.

Where they are comes from the environment, which tools/check_console.py sets:

    CONSOLE_URL       where the console is served
    CONSOLE_KEY       an administrator's key; empty where the service has none
    CONSOLE_CHROMIUM  the browser
    CONSOLE_LOADS     a file that the service may load into an index like `articles`
"""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from typing import Any, Dict, List, Optional
from urllib.parse import quote

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

URL = os.environ["CONSOLE_URL"].rstrip("/")
KEY = os.environ.get("CONSOLE_KEY", "")
CHROMIUM = os.environ["CONSOLE_CHROMIUM"]
LOADS = os.environ["CONSOLE_LOADS"]

QUERY = "how do animals find their way home?"
QUESTION = "Which customers from Fremont ordered plants?"
TEXT = "The Amazon is a river in Brazil. Freddie Mercury never sang there."
CODE = "count the facets"

#: A state of each page that has something to show.
PAGES = {
    "search": f"#/search?index=articles&q={quote(QUERY)}",
    "compare": f"#/compare?index=articles&q={quote(QUERY)}",
    "schemas": f"#/schemas?db=shop&q={quote(QUESTION)}",
    "entities": f"#/entities?catalog=sample&text={quote(TEXT)}",
    "code": f"#/code?index=code&q={quote(CODE)}",
    "jobs": "#/jobs",
    "indexes": "#/indexes",
}
#: What is there once such a page has been answered.
SHOWN = {
    "search": ".hit",
    "compare": ".compare-row",
    "schemas": "svg.schema",
    "entities": ".mention",
    "code": ".code-line",
    "jobs": ".job",
    "indexes": ".index",
}


def ask(method: str, path: str, body: object = None) -> Any:
    """The service's answer to a request of its administrator; None where there is no body."""
    headers = {"content-type": "application/json"}
    if KEY:
        headers["authorization"] = f"Bearer {KEY}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URL + path, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def remove_index(name: str) -> None:
    try:
        ask("DELETE", f"/v1/indexes/{name}")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise


def launch(playwright: Playwright) -> Browser:
    # Containers seldom allow what the browser's own sandbox needs.
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


class Watched:
    """A page in a context of its own, and what it did that it must not do."""

    def __init__(self, browser: Browser, width: int = 1280, height: int = 800, scheme: str = "light", key: Optional[str] = None) -> None:
        size = {"width": width, "height": height}
        self.context: BrowserContext = browser.new_context(viewport=size, color_scheme=scheme)
        given = KEY if key is None else key
        if given:
            # Once for the tab: a key that the page forgets stays forgotten.
            self.context.add_init_script(
                "if (!sessionStorage.getItem('test.begun')) {"
                f"sessionStorage.setItem('gleaner.key', {json.dumps(given)}); sessionStorage.setItem('test.begun', '1') }}"
            )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.complaints: List[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.page.on("request", self._request)

    def _console(self, message: Any) -> None:
        # The browser itself notes each answer of 400 and more.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.complaints.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((URL + "/", "data:")):
            self.complaints.append(f"request to {request.url}")

    def show(self, name: str) -> Page:
        """One of PAGES, once it has been answered."""
        self.page.goto(f"{URL}/{PAGES[name]}")
        self.page.wait_for_selector(f"#main {SHOWN[name]}")
        return self.page

    def close(self) -> None:
        self.context.close()


def judge(page: Page, side: int, verdict: str, rank: int) -> None:
    """Says of the hit at a rank, from 1, that it is `Relevant` or `Not relevant`, and waits until that is kept."""
    row = page.locator("section.side").nth(side).locator(".compare-row").nth(rank - 1)
    with page.expect_response(lambda response: response.url.endswith("/v1/feedback")):
        row.get_by_role("button", name=re.compile(f"^{verdict}:")).click()


def unfold(page: Page, most: int = 3) -> None:
    """Opens what is folded away, the first of it."""
    closed = page.locator("#main details:not([open]) > summary:visible")
    for _ in range(min(most, closed.count())):
        closed.first.click()


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def violations(results: Dict[str, Any]) -> List[str]:
    """What axe finds that keeps people out, in a line each."""
    grave = [found for found in results["violations"] if found["impact"] in ("serious", "critical")]
    return [f"{found['id']} ({found['impact']}): {node['html'][:160]}" for found in grave for node in found["nodes"]]
