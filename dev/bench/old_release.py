"""Runs the code of the last release with the newest tables: the requests of each kind of caller must succeed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from pathlib import Path

import requests
from django.db.migrations.loader import MigrationLoader

from dev.testing.checkouts import PROJECT
from dev.testing.deliveries import SECRET, Delivery, event
from dev.testing.issuer import issuer
from dev.testing.servers import running
from dev.upgrades import released
from dev.upgrades.check import new_migrations

PREPARE = """
from accounts.models import ApiClient, User
ApiClient.objects.get_or_create(client_id="shop", name="A shop")
User.objects.filter(username="old").delete()
User.objects.create_superuser("old", password="an old password")
"""
PAGES = (
    "products/product/?q=mango",
    "products/farm/",
    "integrations/webhookevent/",
    "accounts/apiclient/",
    "auth/group/",
)


def commit() -> str | None:
    """The release's tag, or the last commit without newer migrations. None if this clone does not reach it."""
    files = [
        f"{migration.__module__.replace('.', '/')}.py" for migration in map(type, new_migrations(MigrationLoader(None)))
    ]
    if _git("rev-parse", "--verify", "-q", f"v{released.VERSION}"):
        return f"v{released.VERSION}"
    first = _git("rev-list", "--reverse", "--topo-order", "HEAD", "--", *files).split()
    return _git("rev-parse", "--verify", "-q", f"{first[0]}~1") if first else None


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=False
    ).stdout.strip()


@contextmanager
def checkout(at: str) -> Iterator[Path]:
    """The code of a commit, with the installed packages of now."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", at], cwd=PROJECT, stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def report(environment: Mapping[str, str]) -> str:
    """One line for each request, with its status. Exit if one failed. environment: of the newest tables."""
    at = commit()
    if not at:
        return f"This clone does not reach {released.VERSION}: its code was not run."
    subprocess.run(
        [sys.executable, "manage.py", "shell", "-v0", "-c", PREPARE], env={**environment}, cwd=PROJECT, check=True
    )
    with checkout(at) as code, issuer() as provider:
        old = {
            **environment, **provider.settings, "PYTHONPATH": str(code), "PARTNER_WEBHOOK_SECRETS": SECRET,
            "ALLOWED_HOSTS": "localhost", "DEBUG": "on",
        }  # fmt: skip
        with chdir(code), running(old) as server:
            statuses = dict(_statuses(server.url, provider.token(scope="catalogue:write")))
    lines = [f"Code of {released.VERSION} ({at[:9]}) with the newest tables:"]
    text = "\n".join([*lines, *(f"- {request}: {status}" for request, status in statuses.items())])
    if any(status >= 300 for status in statuses.values()):
        sys.exit(text)
    return text


def _statuses(url: str, token: str) -> Iterator[tuple[str, int]]:
    session = requests.Session()
    yield "GET /products", (found := session.get(f"{url}/products?limit=5")).status_code
    first = found.json()["results"][0]
    yield "GET /products?q=", session.get(f"{url}/products?q=mango&sort=price").status_code
    headers = {"Authorization": f"Bearer {token}"}
    body = {"name": "Mango", "commodity": "mango", "grade": "A", "price": "120.50", "farm": first["farm"]["id"]}
    made = session.post(f"{url}/products", json=body, headers={**headers, "Idempotency-Key": token[-20:]})
    yield "POST /products", made.status_code
    product = made.json()["id"]
    yield (
        "PATCH /products/…",
        session.patch(f"{url}/products/{product}", json={"stock": 4}, headers=headers).status_code,
    )
    delivery = Delivery(event(product))
    sent = {**delivery.headers, "Content-Type": "application/json"}
    yield "POST /webhooks/partner", session.post(f"{url}/webhooks/partner", delivery.body, headers=sent).status_code
    yield "DELETE /products/…", session.delete(f"{url}/products/{product}", headers=headers).status_code
    yield from _admin(session, f"{url}/admin/", first["id"])


def _admin(session: requests.Session, url: str, product: int) -> Iterator[tuple[str, int]]:
    login = session.get(f"{url}login/")
    form = {
        "csrfmiddlewaretoken": session.cookies["csrftoken"],
        "username": "old",
        "password": "an old password",
        "next": "/admin/",
    }
    entered = session.post(f"{url}login/", form, headers={"Referer": login.url})
    yield "admin: login", entered.status_code if "old" in entered.text and entered.url == url else 403
    for path in (*PAGES, f"products/product/{product}/change/"):
        yield f"admin: {path.replace(str(product), '…')}", session.get(url + path).status_code
