"""A real browser for tests: Debian's Chromium, steered by Playwright. conftest.py has the fixtures.

Wait with expect(): our Content-Security-Policy stops the eval() of page.wait_for_function().
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import Group, Permission
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect, sync_playwright

from accounts.models import User

TIMEOUT_MS = 60_000  # a busy machine needs many times what a calm one does
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
]  # root has no sandbox, and containers no shared memory
# Runs before each document's own scripts.
WATCH = """
addEventListener("securitypolicyviolation", (event) =>
    console.error(`Content-Security-Policy: ${event.effectiveDirective} blocks ${event.blockedURI}`));
window.layoutShifts = 0;
new PerformanceObserver((list) => {
    for (const shift of list.getEntries()) if (!shift.hadRecentInput) window.layoutShifts += shift.value;
}).observe({type: "layout-shift", buffered: true});
"""
MAX_LAYOUT_SHIFT = 0.1  # of a good page, by https://web.dev/articles/cls
AFTER_NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"


class Size(NamedTuple):
    """The visible part of a page, in CSS pixels."""

    width: int
    height: int


PHONE, DESKTOP = Size(390, 844), Size(1280, 800)


class Faults:
    """What a user's browser would complain about, collected from all pages of a test."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._allowed: list[str] = []

    def allow(self, pattern: str) -> None:
        """Expect faults that match this regular expression, such as "status of 503"."""
        self._allowed.append(pattern)

    def check(self) -> None:
        """Fail if there are faults that no test allowed."""
        unexpected = [fault for fault in self.found if not any(re.search(p, fault) for p in self._allowed)]
        assert not unexpected, "faults in the browser:\n" + "\n".join(unexpected)

    def watch(self, context: BrowserContext, url: str) -> None:
        """Chromium reports statuses of 400 and more in the console."""

        def on_request(request: Any) -> None:
            if re.match("https?:", request.url) and not request.url.startswith(url):
                self.found.append(f"request to another host: {request.url}")

        def on_request_failed(request: Any) -> None:
            if request.failure != "net::ERR_ABORTED":  # by a script, a download or the next page
                self.found.append(f"failed request: {request.method} {request.url}: {request.failure}")

        def on_console(message: Any) -> None:
            if message.type == "error":
                self.found.append(f"console: {message.text} ({message.location.get('url')})")

        context.add_init_script(WATCH)
        context.on("request", on_request)
        context.on("requestfailed", on_request_failed)
        context.on("console", on_console)
        context.on("weberror", lambda error: self.found.append(f"uncaught: {error.error}"))


@contextmanager
def chromium(home: Path) -> Iterator[Browser]:
    """Start the browser; all its files are in the folder `home`.

    Until the block ends, an event loop runs in this thread. Django's ORM then needs DJANGO_ALLOW_ASYNC_UNSAFE, and
    asyncio.run() fails. So no browser may outlive its module.
    """
    executable = shutil.which("chromium")
    assert executable, "needs Debian's package chromium; `make test` installs it"
    environment: dict[str, str | float | bool] = {**os.environ, "HOME": str(home), "TMPDIR": str(home)}
    expect.set_options(timeout=TIMEOUT_MS)
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(
            executable_path=executable, args=OPTIONS, env=environment, timeout=TIMEOUT_MS
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, size: Size, faults: Faults, **options: Any) -> Iterator[Page]:
    """An empty page, as in a new private window. Its paths are below `url`; options go to browser.new_context()."""
    viewport = ViewportSize(width=size.width, height=size.height)
    context = browser.new_context(base_url=url, viewport=viewport, has_touch=size == PHONE, **options)
    context.set_default_timeout(TIMEOUT_MS)
    faults.watch(context, url)
    try:
        yield context.new_page()
    finally:
        context.close()


def make_user(name: str, role: str = "", permissions: Sequence[str] = (), *, is_superuser: bool = False) -> User:
    """The staff user of this name, with exactly this role (the name of a group) and these permissions (codenames)."""
    user: User
    user, _ = User.objects.update_or_create(
        username=name, defaults={"is_staff": True, "is_active": True, "is_superuser": is_superuser}
    )
    user.groups.set([Group.objects.get(name=role)] if role else [])
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def log_in(page: Page, url: str, user: User) -> None:
    """Give the browser a session of this user. A login through the form would hash a password for 0.4 s."""
    client = Client()
    client.force_login(user)
    page.context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": url}])


def cls(page: Page) -> float:
    """The sum of all layout shifts since the page was opened, which is at least its Cumulative Layout Shift.

    As in that metric, shifts within 500 ms after a click or a key do not count.
    """
    page.evaluate(AFTER_NEXT_FRAME)
    shifts: float = page.evaluate("window.layoutShifts")
    return shifts


def axe(page: Page, impacts: Sequence[str] = ("serious", "critical")) -> None:
    """Fail if axe-core finds a barrier of such an impact for people with disabilities."""
    # Preloaded styles would be copied into the page, where its Content-Security-Policy blocks them.
    violations = Axe().run(page, options={"preload": False}).response["violations"]
    barriers = [violation for violation in violations if violation["impact"] in impacts]
    found = [f"{each['help']} ({each['id']}): {node['html']}" for each in barriers for node in each["nodes"]]
    assert not found, f"axe-core on {page.url}:\n" + "\n".join(found)


def check_page(page: Page) -> None:
    """Fail if the page is wider than its window, has shifted while it loaded, or has barriers."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} is too wide"
    assert cls(page) < MAX_LAYOUT_SHIFT, f"{page.url} shifts"
    axe(page)
