"""make pictures: takes the screenshots of the documentation in a real browser, beside a `make run`.

Needs the environment of that `make run`, and Debian's chromium. It changes products and sends webhooks, so that the
pages have something to show. The charts show the requests of the last hour: run `make load` before.
"""

from __future__ import annotations

import os
import secrets
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import django

django.setup()

from django.core.management import call_command  # noqa: E402  # after Django, like the models
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright  # noqa: E402

from accounts.models import User  # noqa: E402
from farmlokal.acting import acting_as  # noqa: E402
from farmlokal.jobs import steps  # noqa: E402
from products import services  # noqa: E402
from products.jobs.changes import ChangePriceByPercent  # noqa: E402
from products.models import Product  # noqa: E402

FOLDER = Path("docs/pictures")
NAME = "anna"
DESKTOP, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)
WEBHOOKS = 40
JOB_FILTER = "category=spices"
BAD_FILE = """id,name,price,stock
{0},,48.50,10
{1},Ginger,"1,200",25
{2},Turmeric,96.00,many
{3},Lemon,64.00,30
"""


class Picture(NamedTuple):
    name: str
    path: str
    size: ViewportSize = DESKTOP
    is_dark: bool = False


def pictures(product: int, job: int) -> list[Picture]:
    catalogue, change = "/admin/products/product/", f"/admin/products/product/{product}"
    return [
        Picture("home", "/"),
        Picture("home-phone", "/", PHONE),
        Picture("api", "/docs"),
        Picture("admin-overview", "/admin/"),
        Picture("admin-products", f"{catalogue}?q=organic&state=maharashtra"),
        Picture("admin-products-phone", f"{catalogue}?q=organic&state=maharashtra", PHONE),
        Picture("admin-product", f"{change}/change/"),
        Picture("admin-product-phone", f"{change}/change/", PHONE, is_dark=True),
        Picture("admin-history", f"{change}/history/"),
        Picture("admin-job", f"/admin/farmlokal/job/{job}/change/"),
        Picture("admin-webhooks", "/admin/integrations/webhookevent/"),
        Picture("admin-webhooks-phone", "/admin/integrations/webhookevent/", PHONE, is_dark=True),
        Picture("admin-operations", "/admin/operations/"),
        Picture("admin-operations-dark", "/admin/operations/", is_dark=True),
        Picture("admin-operations-phone", "/admin/operations/", PHONE),
    ]


def make_changes() -> int:
    """A product that staff, a client and the partner have changed. Returns its id."""
    pk: int = Product.objects.listed().latest("created_at").pk
    changes: list[tuple[str, services.Fields]] = [
        (NAME, {"price": Decimal("120.00"), "stock": 80}),
        ("client shop", {"stock": 64}),
        ("partner", {"price": Decimal("118.50")}),
    ]
    for actor, fields in changes:
        with acting_as(actor):
            services.change(pk, **fields)
    return pk


def make_webhooks() -> None:
    """Sent to the running service, as the partner sends them."""
    pks = Product.objects.listed().order_by("-created_at").values_list("pk", flat=True)[:WEBHOOKS]
    ids = ",".join(map(str, [*pks[:30], 10**12]))  # there is no product with the last id
    call_command("partner_sandbox", "send", "--products", ids, "--events", str(WEBHOOKS), verbosity=0)


def make_job() -> int:
    """A job that was stopped in its middle. Returns its id."""
    job = steps.start(ChangePriceByPercent(), NAME, parameters={"percent": "5"}, filter=JOB_FILTER)
    steps.advance(job.pk, 1)
    steps.stop(job.pk)
    return job.pk


def log_in(page: Page, url: str, password: str) -> None:
    page.goto(f"{url}/admin/login/")
    page.fill("#id_username", NAME)
    page.fill("#id_password", password)
    page.click("[type=submit]")
    page.wait_for_url(f"{url}/admin/")


def take(browser: Browser, url: str, session: Any, picture: Picture) -> None:
    scheme: Any = "dark" if picture.is_dark else "light"
    context = browser.new_context(viewport=picture.size, color_scheme=scheme, storage_state=session)
    page = context.new_page()
    page.goto(url + picture.path, wait_until="networkidle")
    page.evaluate("document.querySelector('.opblock-tag')?.scrollIntoView()")  # /docs: past the introduction
    save(page, picture.name)
    context.close()


def make_file() -> bytes:
    """Changes of prices, in three bad rows and a good one."""
    pks = Product.objects.listed().order_by("pk").values_list("pk", flat=True)[:4]
    return BAD_FILE.format(*pks).encode()


def take_import(browser: Browser, url: str, session: Any, content: bytes) -> None:
    """The preview of an import."""
    context = browser.new_context(viewport=DESKTOP, storage_state=session)
    page = context.new_page()
    page.goto(f"{url}/admin/products/product/import/")
    page.set_input_files("input[type=file]", {"name": "prices.csv", "mimeType": "text/csv", "buffer": content})
    page.click("form:has(input[type=file]) button")
    expect(page.locator("#content")).to_contain_text("Import the 1 good row")
    save(page, "admin-import")
    context.close()


def save(page: Page, name: str) -> None:
    page.screenshot(path=FOLDER / f"{name}.png")
    print(FOLDER / f"{name}.png")


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    password = secrets.token_urlsafe()
    staff = User.objects.create_superuser(NAME, password=password)
    url = f"http://127.0.0.1:{os.environ['PORT']}"
    try:
        make_webhooks()
        chosen, file = pictures(make_changes(), make_job()), make_file()  # before the browser's event loop starts
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = browser.new_page()
            log_in(page, url, password)
            session = page.context.storage_state()
            for picture in chosen:
                take(browser, url, session, picture)
            take_import(browser, url, session, file)
            browser.close()
    finally:
        staff.delete()


if __name__ == "__main__":
    main()
