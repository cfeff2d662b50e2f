"""The log of webhooks in the admin, and the commands that replay and prune it."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dev.testing.deliveries import SECRET, Delivery, break_prices, event
from dev.testing.offers import make_offer
from dev.testing.staff import make_staff
from farmlokal.jobs.models import Job
from integrations.admin import MAX_PRETTY_LENGTH, pretty
from integrations.models import KEPT_DAYS, AppliedVersion, WebhookEvent, WebhookReplay
from integrations.sandbox.sender import PRICE, WITHDRAWN
from integrations.webhooks import inbox
from products import services
from products.models import Product

pytestmark = [pytest.mark.usefixtures("clean_webhooks"), pytest.mark.django_db]

LOG = "/admin/integrations/webhookevent/"


@pytest.fixture
def product() -> Product:
    return make_offer()


def delivered(client: Client, product_id: int, webhook_id: str = "", **data: Any) -> WebhookEvent:
    delivery = Delivery(event(product_id, **data), webhook_id)
    delivery.send(client)
    return WebhookEvent.objects.get(webhook_id=delivery.webhook_id)


def listed(client: Client, query: str = "") -> list[WebhookEvent]:
    response = client.get(LOG + query)
    assert response.status_code == 200
    return list(response.context["cl"].result_list)


def staff(client: Client, *permissions: str) -> Client:
    client.force_login(make_staff(*permissions))
    return client


def replay(client: Client, *events: WebhookEvent) -> Any:
    form = {"action": "replay", "_selected_action": [one.pk for one in events]}
    return client.post(LOG, form, follow=True)


# The list


def test_list_is_filtered_by_status_and_day(client: Client, admin_client: Client, product: Product) -> None:
    processed, ignored = delivered(client, product.pk), delivered(client, product.pk + 1)
    assert listed(admin_client) == [ignored, processed]
    assert listed(admin_client, "?status=ignored") == [ignored]
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    WebhookEvent.objects.filter(pk=ignored.pk).update(received_at=midnight - dt.timedelta(microseconds=1))
    today, yesterday = midnight.date(), midnight.date() - dt.timedelta(days=1)
    assert listed(admin_client, f"?received_from={today}") == [processed]
    assert listed(admin_client, f"?received_until={yesterday}") == [ignored]
    assert listed(admin_client, f"?received_until={yesterday}&status=processed") == []


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("status=odd", "odd"),
        ("status__regex=.", "status__regex: is not a parameter here"),
        ("payload__contains=x", "payload__contains: is not a parameter here"),
        ("o=3", "o: is not a parameter here"),
        ("status=failed&status=dead", "status: may be given only once"),
        ("product=mango", "Enter a whole number"),
        ("received_from=today", "Enter a valid date"),
        ("received_from=2026-02-30", "Enter a valid date"),
        ("received_until=0001-01-01", "must be a day of the years 2000 to 2999"),
        ("received_from=9999-12-31", "must be a day of the years 2000 to 2999"),
        ("received_from=2026-11-02&received_until=2026-11-01", "must not be after the last day"),
        ("type=%00", "Null characters are not allowed"),
        ("cursor=x", "cursor: is not a position in this list"),
    ],
)
def test_bad_parameter_is_named_and_shows_no_rows(
    client: Client, admin_client: Client, product: Product, query: str, named: str
) -> None:
    delivered(client, product.pk)
    response = admin_client.get(f"{LOG}?{query}")
    assert response.status_code == 400
    assert named in response.content.decode()
    assert response.context["cl"].result_list == []


def test_replay_of_all_matches_reads_the_filters_of_the_list(
    client: Client, admin_client: Client, product: Product
) -> None:
    wanted, other = delivered(client, product.pk), delivered(client, product.pk + 1)
    form = {"action": "replay", "_selected_action": [other.pk], "select_across": "1"}
    admin_client.post(f"{LOG}?status=processed", form)
    assert WebhookReplay.objects.get().event == wanted
    assert admin_client.post(f"{LOG}?status=odd", form).status_code == 400


def test_unreadable_event_does_not_stop_other_replays(client: Client, admin_client: Client, product: Product) -> None:
    unreadable, readable = delivered(client, product.pk + 1), delivered(client, product.pk + 1)
    WebhookEvent.objects.filter(pk=unreadable.pk).update(payload=b"[" * 100_000)
    page = replay(admin_client, unreadable, readable).content.decode()
    assert "nested too deeply" in page
    assert readable.replays.get().outcome == "ignored"


def test_search_by_webhook_id_and_product_id(client: Client, admin_client: Client, product: Product) -> None:
    first, second = delivered(client, product.pk, "msg_1"), delivered(client, product.pk, "123", version=2)
    assert listed(admin_client, "?q=msg_1") == [first]
    assert listed(admin_client, "?q= msg_1 ") == [first]
    assert listed(admin_client, "?q=msg") == [first]
    assert listed(admin_client, "?q=MSG_1") == listed(admin_client, "?q=%25") == []
    assert listed(admin_client, "?q=123") == [second]
    assert listed(admin_client, f"?q={product.pk}") == listed(admin_client, f"?product={product.pk}") == [second, first]
    assert listed(admin_client, f"?q={'9' * 40}") == []


def test_next_and_previous_pages_keep_the_filters(admin_client: Client) -> None:
    rows = [WebhookEvent(webhook_id=f"msg_{n}", type=PRICE, status="failed", payload=b"{}") for n in range(250)]
    WebhookEvent.objects.bulk_create(rows)
    query, seen = "?status=failed", []
    for number in (100, 100, 50):
        page = admin_client.get(LOG + query).context["page"]
        assert (len(page.rows), page.total) == (number, "exactly 250")
        seen += [event.pk for event in page.rows]
        query = f"?{page.next}"
    assert page.next is None
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == 250
    assert [event.pk for event in listed(admin_client, f"?{page.previous}")] == seen[100:200]


def test_list_neither_counts_nor_reads_payloads(client: Client, admin_client: Client, product: Product) -> None:
    for _ in range(3):
        delivered(client, product.pk)
    with CaptureQueriesContext(connection) as queries:
        listed(admin_client)
    statements = [query["sql"] for query in queries if "integrations_webhookevent" in query["sql"]]
    assert statements
    assert not [sql for sql in statements if "COUNT(" in sql or "payload" in sql]


# One event


def test_event_page_is_read_only_and_escaped(client: Client, admin_client: Client, product: Product) -> None:
    shown = delivered(client, product.pk, note="<script>आम</script> \ud800")
    response = admin_client.get(f"{LOG}{shown.pk}/change/")
    page = response.content.decode()
    assert "&lt;script&gt;आम&lt;/script&gt; \\ud800" in page
    assert "  &quot;data&quot;: {\n    &quot;product_id&quot;" in page
    assert "webhook-timestamp: " in page
    assert 'name="_save"' not in page
    assert "<script>आम" not in page
    assert admin_client.post(f"{LOG}{shown.pk}/change/", {"status": "dead"}).status_code == 403
    assert admin_client.post(f"{LOG}{shown.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.get(f"{LOG}add/").status_code == 403


def test_secrets_are_neither_stored_nor_shown(client: Client, admin_client: Client, product: Product) -> None:
    delivery = Delivery(event(product.pk))
    headers = delivery.headers | {"Authorization": "Bearer hush", "Cookie": "hush", "X-Api-Key": "hush"}
    client.post("/webhooks/partner", delivery.body, "application/json", headers=headers)
    row = WebhookEvent.objects.get()
    page = admin_client.get(f"{LOG}{row.pk}/change/").content.decode()
    for secret in ("hush", SECRET, delivery.headers["webhook-signature"]):
        assert secret not in page
        assert secret not in json.dumps(row.headers)


def test_payload_is_indented() -> None:
    assert pretty(b'{"a": ["\xe0\xa4\x86"]}') == '{\n  "a": [\n    "आ"\n  ]\n}'


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"[" * 900 + b"1," * 2000 + b"1" + b"]" * 900,
        b"[" + b"1," * MAX_PRETTY_LENGTH + b"1]",
        b"[" + b"9" * 5000 + b"]",
    ],
)
def test_unprintable_payload_is_shown_as_it_is(payload: bytes) -> None:
    assert pretty(payload) == payload.decode()


def test_payload_that_is_not_utf8_is_shown_escaped() -> None:
    assert pretty(b"\xff") == "\\xff"


# Replay


def test_replay_of_a_failed_event_is_logged(
    client: Client, admin_client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_prices(monkeypatch, 1)
    failed = delivered(client, product.pk, price="47.50")
    assert failed.status == "failed"
    replay(admin_client, failed)
    failed.refresh_from_db()
    assert (failed.status, failed.attempts, failed.error) == ("processed", 2, "")
    assert client.get("/products").json()["results"][0]["price"] == "47.50"
    record = WebhookReplay.objects.get()
    assert (record.event, record.by, record.outcome) == (failed, f"job {Job.objects.get().pk} of admin", "processed")
    assert timezone.now() - record.at < dt.timedelta(minutes=1)
    assert "admin" in admin_client.get(f"{LOG}{failed.pk}/change/").content.decode()
    delivery = Delivery(event(product.pk), failed.webhook_id)
    assert delivery.send(client) == (200, "duplicate")


def test_replay_of_processed_event_has_no_effect(client: Client, admin_client: Client, product: Product) -> None:
    processed, superseded = delivered(client, product.pk, version=2), delivered(client, product.pk, version=1)
    replay(admin_client, processed, superseded)
    assert {one.outcome for one in WebhookReplay.objects.all()} == {"duplicate", "superseded"}
    assert Product.objects.get().version == 2
    assert {one.attempts for one in WebhookEvent.objects.all()} == {1}
    assert WebhookReplay.objects.count() == 2


def test_ignored_event_is_replayed_once_product_exists(client: Client, product: Product) -> None:
    ignored = delivered(client, product.pk + 1)
    Product.objects.filter(pk=product.pk).update(id=product.pk + 1)
    assert inbox.replay(ignored.pk, "asha") == "processed"


def test_replayed_event_gets_its_product(client: Client, product: Product) -> None:
    known = delivered(client, product.pk)
    WebhookEvent.objects.filter(pk=known.pk).update(status="ignored", product_id=None)
    AppliedVersion.objects.all().delete()
    assert inbox.replay(known.pk, "asha") == "processed"
    assert WebhookEvent.objects.get().product_id == product.pk


def test_sender_can_retry_after_failed_replay(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = Delivery(event(product.pk + 1))
    assert delivery.send(client) == (200, "ignored")
    Product.objects.filter(pk=product.pk).update(id=product.pk + 1)
    break_prices(monkeypatch, 1)
    assert inbox.replay(WebhookEvent.objects.get().pk, "asha") == "failed"
    assert delivery.send(client) == (200, "processed")


def test_superseded_event_is_replayed_once_product_is_relisted(client: Client, product: Product) -> None:
    services.withdraw(product.pk)
    newer = delivered(client, product.pk, version=5, price="5.00")
    assert newer.status == "superseded"
    Product.objects.filter(pk=product.pk).update(is_active=True)
    older = delivered(client, product.pk, version=4, price="4.00")
    assert older.status == "processed"
    assert [inbox.replay(one.pk, "asha") for one in (newer, older)] == ["processed", "duplicate"]
    assert Product.objects.get().price == Decimal("5.00")


def test_attempts_of_an_ignored_event_do_not_count(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored = delivered(client, product.pk + 1)
    assert {inbox.replay(ignored.pk, "asha") for _ in range(inbox.MAX_ATTEMPTS)} == {"ignored"}
    Product.objects.filter(pk=product.pk).update(id=product.pk + 1)
    break_prices(monkeypatch, inbox.MAX_ATTEMPTS + 1)
    outcomes = [inbox.replay(ignored.pk, "asha") for _ in range(inbox.MAX_ATTEMPTS + 1)]
    assert outcomes == ["failed"] * (inbox.MAX_ATTEMPTS - 1) + ["dead"] * 2


def test_replay_that_fails_shows_the_error(
    client: Client, admin_client: Client, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_prices(monkeypatch, 2)
    failed = delivered(client, product.pk)
    page = replay(admin_client, failed).content.decode()
    assert "failed: RuntimeError: the handler is broken" in page
    assert WebhookReplay.objects.get().error.startswith("RuntimeError")


def test_view_permission_does_not_allow_replay(client: Client, product: Product) -> None:
    shown = delivered(client, product.pk)
    reader = staff(client, "view_webhookevent")
    assert listed(reader) == [shown]
    assert reader.get(f"{LOG}{shown.pk}/change/").status_code == 200
    replay(reader, shown)
    assert not WebhookReplay.objects.exists()


def test_replay_permission_allows_replay(client: Client, product: Product) -> None:
    shown = delivered(client, product.pk)
    page = replay(staff(client, "view_webhookevent", "replay_webhookevent"), shown).content.decode()
    assert "Replay webhooks: finished, 1 done, 0 failed." in page
    assert WebhookReplay.objects.get().by.endswith(" of asha")


def test_other_staff_cannot_see_the_log(client: Client) -> None:
    assert staff(client, "view_product").get(LOG).status_code == 403


def test_command_replays_by_id_or_number(
    client: Client, product: Product, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_prices(monkeypatch, 2)
    failed = delivered(client, product.pk, "msg_1")
    with pytest.raises(CommandError, match="failed, RuntimeError"):
        call_command("replay_webhook", "msg_1")
    capsys.readouterr()
    call_command("replay_webhook", "msg_1", by="asha" * 100)
    call_command("replay_webhook", str(failed.pk))
    assert capsys.readouterr().out == f"msg_1: processed\n{failed.pk}: duplicate\n"
    assert [record.outcome for record in WebhookReplay.objects.all()] == ["failed", "processed", "duplicate"]
    assert WebhookReplay.objects.all()[1].by == ("asha" * 100)[:150]
    for unknown in ("msg_2", "0", "9" * 30, "", "a.b", "a\udcff", "\u0663"):
        with pytest.raises(CommandError, match="There is no webhook"):
            call_command("replay_webhook", unknown)


def test_command_stores_undecodable_names(client: Client, product: Product) -> None:
    shown = delivered(client, product.pk)
    call_command("replay_webhook", shown.webhook_id, by="\udcff")
    assert WebhookReplay.objects.get().by == "?"


def test_command_names_invalid_data(client: Client, product: Product) -> None:
    """The type had no handler when the event arrived, so its data was not checked."""
    ignored = delivered(client, product.pk, event_type="product.painted")
    WebhookEvent.objects.filter(pk=ignored.pk).update(payload=json.dumps(event(event_type=PRICE, price=5)).encode())
    with pytest.raises(CommandError, match="/data/price: must be a string"):
        call_command("replay_webhook", ignored.webhook_id)


# Pruning


def test_prune_deletes_old_events(client: Client, product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    old, young = (delivered(client, product.pk, event_type=WITHDRAWN) for _ in range(2))
    inbox.replay(old.pk, "asha")
    now = timezone.now()
    WebhookEvent.objects.filter(pk=old.pk).update(received_at=now - dt.timedelta(days=KEPT_DAYS, minutes=1))
    WebhookEvent.objects.filter(pk=young.pk).update(received_at=now - dt.timedelta(days=KEPT_DAYS, minutes=-1))
    capsys.readouterr()
    call_command("prune")
    assert capsys.readouterr().out == "Deleted 1 webhooks.\nDeleted 0 changes.\nDeleted 0 files.\nDeleted 0 jobs.\n"
    assert list(WebhookEvent.objects.all()) == [young]
    call_command("prune", "--webhook-days", "7")
    assert not WebhookEvent.objects.exists()


def test_prune_deletes_expired_sessions() -> None:
    expires = timezone.now() + dt.timedelta(days=1)
    for key, age in (("old", dt.timedelta(days=2)), ("young", dt.timedelta())):
        Session.objects.create(session_key=key, session_data="", expire_date=expires - age)
    call_command("prune")
    assert [session.session_key for session in Session.objects.all()] == ["young"]


@pytest.mark.parametrize("days", ["6", "0", "-1", "999999999"])
def test_prune_keeps_events_while_senders_retry(days: str) -> None:
    for option in ("--webhook-days", "--history-days"):
        with pytest.raises(CommandError, match=f"{option} must be from 7"):
            call_command("prune", option, days)
