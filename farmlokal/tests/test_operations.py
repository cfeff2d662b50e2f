"""The operations page: what it shows, who may see it and change a breaker, and what happens without Redis."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.test import Client
from django.utils import timezone
from django_redis import get_redis_connection
from pytest_django.fixtures import Settings

from accounts import tokens
from accounts.models import ApiClient, User
from accounts.roles import ROLES
from dev.testing.databases import rows_read, statements_sent
from dev.testing.partner import SECRET, partner, settings_for
from dev.testing.servers import Daemon
from dev.testing.staff import make_staff
from dev.testing.waiting import wait_until
from farmlokal.jobs.models import Job
from farmlokal.redis.client import Outages
from farmlokal.traffic.reporter import MINUTE, PREFIX, REPORTS, TEN_MINUTES, add
from integrations.models import WebhookEvent
from integrations.partner.client import client as partner_client
from integrations.tests.memory import reset_process
from integrations.webhooks.backlog import MAX_COUNTED, RECENT, backlog

pytestmark = pytest.mark.django_db

PAGE, DATA = "/admin/operations/", "/admin/operations/data"
OPEN, CLOSE, RESET = (f"/admin/operations/breakers/partner/{action}" for action in ("open", "close", "reset"))
VIEW, FORCE = "view_operations", "force_breaker"
MAX_STATEMENTS = 11  # with four for the session, the user and the permissions


@pytest.fixture(autouse=True)
def _own_redis(redis_alone: Daemon) -> Iterator[None]:
    reset_process()
    yield
    Outages.end()
    reset_process()


def staff(*permissions: str, name: str = "asha") -> Client:
    client = Client()
    client.force_login(make_staff(*permissions, name=name))
    return client


def document(client: Client, hours: int = 1) -> Any:
    answer = client.get(DATA, {"hours": hours})
    assert answer.status_code == 200
    return answer.json()


def part(shown: Any, name: str) -> Any:
    return next(part for part in shown["parts"] if part["name"] == name)


def let_a_step_pass(seconds: int) -> None:
    """Redis's clock cannot be moved, so what it holds becomes older."""
    own = get_redis_connection("default")
    for name in own.keys(f"{PREFIX}:{seconds}:*"):
        head, _, number = name.decode().rpartition(":")
        own.rename(name, f"{head}:{int(number) - 1}")


@pytest.mark.parametrize(
    ("permissions", "expected"),
    [
        (["view_product"], [403, 403, 403, 403]),
        ([FORCE], [403, 403, 403, 403]),
        ([VIEW], [200, 200, 403, 403]),
        ([VIEW, FORCE], [200, 200, 200, 302]),
    ],
)
def test_permissions_decide_page_by_page(permissions: list[str], expected: list[int]) -> None:
    client = staff(*permissions)
    answers = [client.get(PAGE), client.get(DATA), client.get(OPEN), client.post(OPEN)]
    assert [answer.status_code for answer in answers] == expected
    status = partner_client.breaker.status()
    assert status
    assert status.state == ("held" if expected[-1] == 302 else "closed")


def test_operator_alone_may_force_a_breaker() -> None:
    answers = {}
    for role in ROLES:
        user = User.objects.create(username=role.name, is_staff=True)
        user.groups.set(Group.objects.filter(name=role.name))
        client = Client()
        client.force_login(user)
        answers[role.name] = client.post(RESET).status_code
    assert answers == dict.fromkeys(answers, 403) | {"Operator": 302}


def test_visitor_is_sent_to_the_login(client: Client) -> None:
    answers = [client.get(PAGE), client.get(DATA), client.get(OPEN), client.post(OPEN)]
    assert {answer.headers["Location"].partition("?")[0] for answer in answers} == {"/admin/login/"}


def test_only_those_who_may_force_see_buttons() -> None:
    assert OPEN not in staff(VIEW).get(PAGE).content.decode()
    client = Client()
    client.force_login(User.objects.create_superuser("admin"))
    text = client.get(PAGE).content.decode()
    assert all(url in text for url in (OPEN, CLOSE, RESET))


def test_page_has_no_inline_style_or_script() -> None:
    client = staff(VIEW, FORCE)
    for url in (PAGE, OPEN):
        text = client.get(url).content.decode()
        assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", text)


def test_buttons_change_the_breaker_for_all_processes() -> None:
    client = staff(VIEW, FORCE)
    for url, state in ((OPEN, "open until you close it"), (CLOSE, "closed; 0 of"), (OPEN, "open"), (RESET, "closed")):
        assert client.post(url).headers["Location"] == PAGE
        reset_process()
        assert part(document(client), "Breaker: partner")["state"].startswith(state)


def test_change_of_a_breaker_is_recorded_with_its_user(caplog: pytest.LogCaptureFixture) -> None:
    client = staff(VIEW, FORCE)
    client.get(OPEN)
    assert not LogEntry.objects.exists()
    client.post(OPEN)
    (entry,) = LogEntry.objects.all()
    assert (entry.user.get_username(), str(entry)) == ("asha", "Changed “breaker of partner” — Force open.")
    messages: list[Any] = [record.msg for record in caplog.records]
    (line,) = [message for message in messages if message["event"] == "breaker_forced"]
    assert (line["name"], line["action"], line["by"]) == ("partner", "open", "asha")


def test_form_without_its_csrf_token_changes_nothing() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_staff(VIEW, FORCE))
    assert client.post(OPEN).status_code == 403
    assert not LogEntry.objects.exists()


def test_unknown_breaker_or_action_is_404() -> None:
    client = staff(VIEW, FORCE)
    for path in ("breakers/bank/open", "breakers/partner/smash"):
        assert client.post(f"{PAGE}{path}").status_code == 404


@pytest.mark.parametrize("hours", ["", "0", "2", "1.0", "9" * 30])
def test_other_hours_are_refused(hours: str) -> None:
    assert staff(VIEW).get(DATA, {"hours": hours}).status_code == 400


@pytest.mark.parametrize("is_frozen", [False, True])
def test_without_redis_the_page_says_so(redis_alone: Daemon, *, is_frozen: bool) -> None:
    client = staff(VIEW, FORCE)
    add({"requests:2xx": 1, REPORTS: 1}, {})
    redis_alone.freeze() if is_frozen else redis_alone.kill()
    try:
        wait_until(lambda: part(document(client), "Redis")["level"] == "bad")  # a check lasts a second
        shown = document(client)
        assert client.get(PAGE).status_code == 200
        assert shown["note"].startswith("Redis does not answer")
        assert shown["charts"] == {}
        assert part(shown, "Breaker: partner")["level"] == "unknown"
        refused = client.post(OPEN)
        (message,) = get_messages(refused.wsgi_request)
        assert str(message) == "Nothing has changed: Redis does not answer, or accepts no writes."
        assert not LogEntry.objects.exists()
    finally:
        redis_alone.thaw() if is_frozen else redis_alone.start()
    Outages.end()
    assert document(client)["note"] == ""


def test_without_metrics_the_page_says_so(settings: Settings) -> None:
    settings.METRICS = False
    shown = document(staff(VIEW))
    assert shown["note"].startswith("METRICS is off")
    assert shown["charts"] == {}
    assert part(shown, "MySQL")["level"] == "good"


@pytest.mark.parametrize(("hours", "seconds", "rate"), [(1, MINUTE, 30), (24, TEN_MINUTES, 3)])
def test_lines_are_rates_a_minute(hours: int, seconds: int, rate: int) -> None:
    add({"requests:2xx": 20, "requests:4xx": 7, "requests:5xx": 3, REPORTS: 1}, {})
    let_a_step_pass(seconds)
    shown = document(staff(VIEW), hours)
    chart = shown["charts"]["requests"]
    lines = {line["name"]: line["values"] for line in chart["lines"]}
    assert lines["all"][-1] == rate
    assert lines["all"][0] is None  # no process had reported
    assert {name: values[-1] for name, values in lines.items()} == {"all": rate, "4xx": rate * 7 / 30, "5xx": rate / 10}
    assert "30 requests, of which 7 (23.33 %) were refused with 4xx, and 3 (10 %) failed" in chart["summary"]
    assert {len(values) for values in lines.values()} == {len(shown["labels"])}


def test_page_cache_and_times_are_described_in_words() -> None:
    counts = {"pages:hit": 90, "pages:stale": 4, "pages:miss": 6, REPORTS: 1}
    bounds = {f"seconds:{bound}": 10 for bound in (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, "+Inf")}
    add(counts | bounds, {})
    charts = document(staff(VIEW))["charts"]
    assert charts["pages"]["summary"].endswith("100 pages: 90 % hit, 6 % miss, 4 % stale, 0 % bypass.")
    assert "half of the catalogue's requests took up to 3.75 ms, and 95 % up to 4.88 ms" in charts["seconds"]["summary"]
    assert charts["webhooks"]["summary"].endswith("no deliveries.")


def test_limited_clients_have_their_names() -> None:
    caller = ApiClient.objects.create(client_id="c", name="Mandi Mart")
    add({REPORTS: 1}, {"anonymous 192.0.2.1": 5, f"client {caller.pk}": 7, "client 99999": 1})
    assert document(staff(VIEW))["clients"] == [
        {"policy": "client", "client": "Mandi Mart", "refusals": 7},
        {"policy": "anonymous", "client": "192.0.2.1", "refusals": 5},
        {"policy": "client", "client": "99999", "refusals": 1},
    ]


def test_token_state_is_shown_and_the_token_is_not(settings: Settings) -> None:
    client = staff(VIEW)
    assert part(document(client), "Access token for the partner")["state"] == "OAUTH_TOKEN_URL is not set"
    with partner() as sandbox:
        for name, value in settings_for(sandbox).items():
            setattr(settings, name, value)
        assert part(document(client), "Access token for the partner")["state"] == "no call has needed one yet"
        token = tokens.get_access_token()
        text = client.get(DATA).content.decode()
        shown = part(json.loads(text), "Access token for the partner")
        assert (shown["level"], shown["state"]) == ("good", "valid")
        assert shown["facts"]["Last request"].endswith("succeeded")
        secrets = [token, SECRET, settings.SECRET_KEY, settings.REDIS_URL, settings.DATABASES["default"]["PASSWORD"]]
        assert not [secret for secret in secrets if secret and secret in text]


def test_refused_credentials_are_shown(settings: Settings) -> None:
    with partner() as sandbox:
        for name, value in (settings_for(sandbox) | {"OAUTH_CLIENT_SECRET": "wrong"}).items():
            setattr(settings, name, value)
        with pytest.raises(Exception, match="no access token"):
            tokens.get_access_token()
        shown = part(document(staff(VIEW)), "Access token for the partner")
        assert (shown["level"], shown["state"]) == ("bad", "missing")
        assert "answers 401" in shown["facts"]["Last request"]


def make_events(status: str, number: int, ago: float = 0, delay: float = 0) -> None:
    received = timezone.now() - dt.timedelta(seconds=ago)
    WebhookEvent.objects.bulk_create(
        WebhookEvent(
            webhook_id=f"{status}-{index}",
            type="t",
            payload=b"{}",
            status=status,
            received_at=received,
            attempted_at=received + dt.timedelta(seconds=delay),
        )
        for index in range(number)
    )


def test_failed_webhooks_are_counted_with_the_oldest() -> None:
    make_events("dead", 2, ago=7200, delay=90)
    make_events("failed", 3, ago=60, delay=1)
    make_events("processed", 90)
    found = backlog()
    assert (found.failed, found.dead, found.median_delay, found.longest_delay) == (3, 2, 0, 90)
    assert found.oldest
    assert round((timezone.now() - found.oldest).total_seconds(), -2) == 7200
    shown = part(document(staff(VIEW)), "Webhooks")
    assert (shown["level"], shown["facts"]["Failed"], shown["facts"]["Dead"]) == ("bad", "3", "2")


def test_long_log_of_failures_is_read_in_part() -> None:
    make_events("failed", MAX_COUNTED + 500)
    make_events("dead", MAX_COUNTED + 500)
    assert part(document(staff(VIEW)), "Webhooks")["facts"]["Failed"] == "1,000 or more"
    assert rows_read(backlog) <= 2 * MAX_COUNTED + 2 * RECENT


def test_jobs_are_counted_while_unfinished_or_lately_failed() -> None:
    long_ago = timezone.now() - dt.timedelta(days=2)
    for status, done, failed, updated_at in [
        ("running", 1200, 3, timezone.now()),
        ("stopped", 50, 1, long_ago),
        ("finished", 7, 7, timezone.now()),
        ("failed", 7, 7, long_ago),
    ]:
        Job.objects.create(action="a", status=status, done=done, failed=failed, updated_at=updated_at)
    shown = part(document(staff(VIEW)), "Jobs")
    facts = {"Running": "1", "Stopped": "1", "Their items": "1,250 done, of which 4 failed", "Failed in a day": "0"}
    assert (shown["level"], shown["state"], shown["facts"]) == ("good", "2 unfinished", facts)
    Job.objects.filter(status="failed").update(updated_at=timezone.now())
    shown = part(document(staff(VIEW, name="ben")), "Jobs")
    assert (shown["level"], shown["facts"]["Failed in a day"]) == ("warning", "1")


def test_data_takes_few_statements() -> None:
    client = staff(VIEW)
    make_events("failed", 3)
    caller = ApiClient.objects.create(client_id="c", name="Mandi Mart")
    add({REPORTS: 1}, {f"client {caller.pk}": 7})
    document(client)  # asks for the version of MySQL once
    assert statements_sent(lambda: document(client)) <= MAX_STATEMENTS
    assert statements_sent(lambda: client.get(PAGE)) <= MAX_STATEMENTS
