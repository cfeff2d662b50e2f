"""make pictures: takes the screenshots of the documentation in a real browser, beside a `make run`.

Needs the environment of that `make run`, and Debian's chromium.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import django

django.setup()

from playwright.sync_api import Page, sync_playwright  # noqa: E402  # after Django, like the model

from accounts.models import User  # noqa: E402

FOLDER = Path("docs/pictures")
NAME = "pictures"
DESKTOP, PHONE = (1280, 800), (390, 844)
# File, path, size, whether staff is logged in.
PICTURES = [
    ("home", "/", DESKTOP, False),
    ("home-phone", "/", PHONE, False),
    ("api", "/docs", DESKTOP, False),
    ("admin-products", "/admin/products/product/", DESKTOP, True),
    ("admin-webhooks", "/admin/integrations/webhookevent/", DESKTOP, True),
]


def log_in(page: Page, url: str, password: str) -> None:
    page.goto(f"{url}/admin/login/")
    page.fill("#id_username", NAME)
    page.fill("#id_password", password)
    page.click("[type=submit]")
    page.wait_for_url(f"{url}/admin/")


def take(browser: Any, url: str, password: str) -> None:
    for name, path, (width, height), is_staff in PICTURES:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="light")
        page = context.new_page()
        if is_staff:
            log_in(page, url, password)
        page.goto(url + path, wait_until="networkidle")
        page.evaluate("document.querySelector('.opblock-tag')?.scrollIntoView()")  # /docs: past the introduction
        page.screenshot(path=FOLDER / f"{name}.png")
        print(FOLDER / f"{name}.png")
        context.close()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    password = secrets.token_urlsafe()
    staff = User.objects.create_superuser(NAME, password=password)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            take(browser, f"http://127.0.0.1:{os.environ['PORT']}", password)
            browser.close()
    finally:
        staff.delete()


if __name__ == "__main__":
    main()
