"""The partner's side: the sandbox that sends webhooks, and the examples that README gives to senders."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.management import CommandError, call_command

from dev.testing.offers import make_offer
from dev.testing.servers import Server, free_port, running
from integrations.management.commands.partner_sandbox import INTERRUPTED
from integrations.models import AppliedVersion, WebhookEvent
from integrations.sandbox.sender import PAUSES_SECONDS, PRICE, STOCK, WITHDRAWN, Sender, changes, message
from integrations.tests.memory import clean_slate
from integrations.webhooks import signing_secrets
from products.models import Product

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_httpserver import HTTPServer

pytestmark = pytest.mark.usefixtures("live_database")

README = Path(__file__).parents[2] / "README.md"
PLACE = "/webhooks/partner"
SECRET = signing_secrets.generate()


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    clean_slate()
    with running(database_environment, PARTNER_WEBHOOK_SECRETS=SECRET) as server:
        yield server


@pytest.fixture
def product() -> Product:
    return make_offer()


def send(server: Server, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    url = f"http://127.0.0.1:{server.port}{PLACE}"
    call_command("partner_sandbox", "send", "--url", url, "--secret", SECRET, *options)
    return capsys.readouterr().out


def test_one_event(server: Server, product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    said = send(server, capsys, "--type", STOCK, "--data", f'{{"product_id": {product.pk}, "stock": 7, "version": 1}}')
    assert re.fullmatch(r"msg_\w+: 200 processed\n1 deliveries in 1 attempts and .* s: 1 x 200 processed\n", said)
    assert Product.objects.get(pk=product.pk).stock == 7


def test_a_burst_of_copies_out_of_order(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    products = ",".join(str(make_offer().pk) for _ in range(3))
    before = WebhookEvent.objects.count()
    options = [
        "--products",
        products,
        "--events",
        "30",
        "--copies",
        "5",
        "--shuffle",
        "--at-once",
        "8",
        "--hurry",
        "50",
    ]
    said = send(server, capsys, *options)
    assert said.startswith("150 deliveries in ")
    assert "120 x 200 duplicate" in said
    assert WebhookEvent.objects.count() == before + 30


def test_an_id_that_is_chosen(server: Server, product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--products", str(product.pk), "--type", WITHDRAWN, "--id", "msg_chosen", "--copies", "2"]
    assert "msg_chosen: 200 processed\nmsg_chosen: 200 duplicate\n" in send(server, capsys, *options)
    assert not Product.objects.get(pk=product.pk).is_active


def test_what_cannot_be_sent_is_said(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (
        *(["--products", "x"], ["--data", "{"], ["--copies", "0"], ["--hurry", "0"], ["--hurry", "nan"]),
        *(["--secret", "whsec_"], ["--url", "foo"], ["--url", "ftp://x/"], ["--id", "a\nb"], ["--id", "a.b"]),
    ):
        with pytest.raises(CommandError):
            send(server, capsys, *options)


def test_it_goes_on_until_it_counts(httpserver: HTTPServer) -> None:
    """By the schedule, hurried, and not before Retry-After."""
    for status, headers in ((500, {}), (409, {"Retry-After": "1"}), (200, {})):
        httpserver.expect_ordered_request(PLACE).respond_with_json({"status": "so"}, status, headers)
    sent = message(PRICE, {})
    began = time.monotonic()
    attempts = list(
        Sender(httpserver.url_for(PLACE), SECRET, hurry=1000).deliver(sent)
    )  # after 0.005 and 0.3 s by itself
    assert [attempt.status for attempt in attempts] == [500, 409, 200]
    assert time.monotonic() - began > 1
    requests = [request for request, _ in httpserver.log]
    assert {request.headers["webhook-id"] for request in requests} == {sent.id}
    assert {request.data for request in requests} == {sent.body}
    assert len({request.headers["webhook-signature"] for request in requests}) > 1  # each has a time of its own


@pytest.mark.parametrize("body", ["", "[]", "oops", "{}"])
def test_an_answer_counts_whatever_it_says(httpserver: HTTPServer, body: str) -> None:
    httpserver.expect_request(PLACE).respond_with_data(body, 202, {"Retry-After": "Mon, 23 Nov 2026 06:30:00 GMT"})
    sender = Sender(httpserver.url_for(PLACE), SECRET)
    assert [attempt.status for attempt in sender.deliver(message(PRICE, {}))] == [202]


def test_it_stops_where_nobody_is(httpserver: HTTPServer) -> None:
    httpserver.expect_request(PLACE).respond_with_json({}, 410)
    sender = Sender(httpserver.url_for(PLACE), SECRET)
    assert [attempt.status for attempt in sender.deliver(message(PRICE, {}))] == [410]


def test_it_gives_up_at_the_end_of_its_schedule() -> None:
    silent = Sender(f"http://127.0.0.1:{free_port()}{PLACE}", SECRET, hurry=10_000_000)
    assert [attempt.outcome for attempt in silent.deliver(message(PRICE, {}))] == ["no answer"] * len(PAUSES_SECONDS)


def test_each_attempt_is_told_and_a_pause_can_be_interrupted(httpserver: HTTPServer) -> None:
    httpserver.expect_request(PLACE).respond_with_json({}, 503, {"Retry-After": "60"})
    options = ["--url", httpserver.url_for(PLACE), "--secret", SECRET]
    command = [sys.executable, "manage.py", "partner_sandbox", "send", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline().endswith(b": 503 None\n")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == INTERRUPTED


def test_later_changes_have_newer_versions() -> None:
    first, second = ([event.body for event in changes([1], 3, [PRICE])] for _ in range(2))
    versions = [int(re.findall(rb'"version": (\d+)', body)[0]) for body in [*first, *second]]
    assert versions == sorted(set(versions))


def examples(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    return [example for example in found if PLACE in example]


@pytest.mark.parametrize(("language", "command"), [("bash", ["bash", "-euc"]), ("python", [sys.executable, "-c"])])
def test_the_examples_of_the_readme_run_as_they_are(
    server: Server, tmp_path: Path, language: str, command: list[str]
) -> None:
    Product.objects.filter(pk=1).delete()
    AppliedVersion.objects.filter(product_id=1).delete()
    make_offer(id=1)
    (example,) = examples(language)
    kept = tmp_path / "webhook_secret"
    kept.write_text(f"{SECRET}\n")
    example = example.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    example = example.replace(".local/run/webhook_secret", str(kept))
    run = subprocess.run([*command, example], capture_output=True, text=True, check=True, timeout=60)
    assert '{"status":"processed"}' in run.stdout


def test_send_without_any_secret_says_that_it_needs_one() -> None:
    with pytest.raises(CommandError, match="--secret"):
        call_command("partner_sandbox", "send")


def test_no_webhook_secret_is_in_the_repository() -> None:
    """One that is public lets anybody change prices wherever it is in use; those of tests are not."""
    command = ["git", "grep", "-lE", "whsec_[A-Za-z0-9+/]{24}", "--", ".", ":!*/tests/*"]
    found = subprocess.run(command, cwd=README.parent, capture_output=True, text=True, check=False)
    assert found.returncode == 1, found.stdout + found.stderr  # nothing was found
