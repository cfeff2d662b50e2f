"""The sandbox sends webhooks, and the examples for senders in docs/webhooks.md run."""

from __future__ import annotations

import datetime as dt
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import time_machine
from django.core.management import CommandError, call_command
from pytest_httpserver import HTTPServer

from dev.testing.offers import make_offer
from dev.testing.servers import Server, free_port, running
from integrations.management.commands.partner_sandbox import INTERRUPTED
from integrations.models import AppliedVersion, WebhookEvent
from integrations.sandbox.sender import PAUSES_SECONDS, PRICE, STOCK, WITHDRAWN, Sender, changes, message
from integrations.tests.memory import reset_all
from integrations.webhooks import signing_secrets
from products.models import Product

pytestmark = pytest.mark.usefixtures("live_database")

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/webhooks.md"
PATH = "/webhooks/partner"
EXAMPLE_PRODUCT = 12345  # in the examples
SECRET = signing_secrets.generate()


@pytest.fixture(scope="module")
def server(live_database: None, database_environment: dict[str, str]) -> Iterator[Server]:
    reset_all()
    with running(database_environment, PARTNER_WEBHOOK_SECRETS=SECRET) as server:
        yield server


@pytest.fixture
def product() -> Product:
    return make_offer()


def send(server: Server, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    url = f"http://127.0.0.1:{server.port}{PATH}"
    call_command("partner_sandbox", "send", "--url", url, "--secret", SECRET, *options)
    return capsys.readouterr().out


def test_send_prints_one_event(server: Server, product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    data = f'{{"product_id": {product.pk}, "stock": 7, "version": 1}}'
    output = send(server, capsys, "--type", STOCK, "--data", data)
    assert re.fullmatch(r"msg_\w+: 200 processed\n1 deliveries in 1 attempts and .* s: 1 x 200 processed\n", output)
    assert Product.objects.get(pk=product.pk).stock == 7


def test_send_shuffled_copies(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
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
    output = send(server, capsys, *options)
    assert output.startswith("150 deliveries in ")
    assert "120 x 200 duplicate" in output
    assert WebhookEvent.objects.count() == before + 30


def test_send_with_a_chosen_id(server: Server, product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--products", str(product.pk), "--type", WITHDRAWN, "--id", "msg_chosen", "--copies", "2"]
    assert "msg_chosen: 200 processed\nmsg_chosen: 200 duplicate\n" in send(server, capsys, *options)
    assert not Product.objects.get(pk=product.pk).is_active


def test_send_refuses_bad_options(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (
        *(["--products", "x"], ["--data", "{"], ["--copies", "0"], ["--hurry", "0"], ["--hurry", "nan"]),
        *(["--secret", "whsec_"], ["--url", "foo"], ["--url", "ftp://x/"], ["--id", "a\nb"], ["--id", "a.b"]),
    ):
        with pytest.raises(CommandError):
            send(server, capsys, *options)


def test_sender_retries_until_delivered(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the schedule divided by `hurry`, and not before Retry-After."""
    pauses: list[float] = []
    for status, headers in ((500, {}), (409, {"Retry-After": "1"}), (200, {})):
        httpserver.expect_ordered_request(PATH).respond_with_json({"status": "so"}, status, headers)
    sent = message(PRICE, {})
    with time_machine.travel(dt.datetime.now(dt.UTC)) as clock:

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            clock.shift(seconds)

        # Not time.sleep itself: threads of other tests would never sleep, and shift the clock.
        monkeypatch.setattr("integrations.sandbox.sender.time", SimpleNamespace(sleep=sleep))
        attempts = list(Sender(httpserver.url_for(PATH), SECRET, hurry=1000).deliver(sent))
    assert [attempt.status for attempt in attempts] == [500, 409, 200]
    assert pauses == [0, 0.005, 1]
    requests = [request for request, _ in httpserver.log]
    assert {request.headers["webhook-id"] for request in requests} == {sent.id}
    assert {request.data for request in requests} == {sent.body}
    assert len({request.headers["webhook-signature"] for request in requests}) > 1  # each signs its own time


@pytest.mark.parametrize("body", ["", "[]", "oops", "{}"])
def test_any_2xx_is_delivered(httpserver: HTTPServer, body: str) -> None:
    httpserver.expect_request(PATH).respond_with_data(body, 202, {"Retry-After": "Mon, 23 Nov 2026 06:30:00 GMT"})
    sender = Sender(httpserver.url_for(PATH), SECRET)
    assert [attempt.status for attempt in sender.deliver(message(PRICE, {}))] == [202]


def test_sender_stops_at_410(httpserver: HTTPServer) -> None:
    httpserver.expect_request(PATH).respond_with_json({}, 410)
    sender = Sender(httpserver.url_for(PATH), SECRET)
    assert [attempt.status for attempt in sender.deliver(message(PRICE, {}))] == [410]


def test_sender_gives_up_after_its_schedule() -> None:
    silent = Sender(f"http://127.0.0.1:{free_port()}{PATH}", SECRET, hurry=10_000_000)
    assert [attempt.outcome for attempt in silent.deliver(message(PRICE, {}))] == ["no answer"] * len(PAUSES_SECONDS)


def test_pause_can_be_interrupted(httpserver: HTTPServer) -> None:
    httpserver.expect_request(PATH).respond_with_json({}, 503, {"Retry-After": "60"})
    options = ["--url", httpserver.url_for(PATH), "--secret", SECRET]
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
    blocks = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [example for example in blocks if PATH in example]


@pytest.mark.parametrize(("language", "command"), [("bash", ["bash", "-euc"]), ("python", [sys.executable, "-c"])])
def test_documented_examples_run(server: Server, tmp_path: Path, language: str, command: list[str]) -> None:
    Product.objects.filter(pk=EXAMPLE_PRODUCT).delete()
    AppliedVersion.objects.filter(product_id=EXAMPLE_PRODUCT).delete()
    make_offer(id=EXAMPLE_PRODUCT)
    (example,) = examples(language)
    secret_file = tmp_path / "webhook_secret"
    secret_file.write_text(f"{SECRET}\n")
    example = example.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    example = example.replace(".local/run/webhook_secret", str(secret_file))
    run = subprocess.run([*command, example], capture_output=True, text=True, check=True, timeout=60)
    assert '{"status":"processed"}' in run.stdout


def test_send_requires_a_secret() -> None:
    with pytest.raises(CommandError, match="--secret"):
        call_command("partner_sandbox", "send")


def test_no_webhook_secret_is_in_the_repository() -> None:
    """Anyone could change prices with a public secret. Tests are exempt."""
    command = ["git", "grep", "-lE", "whsec_[A-Za-z0-9+/]{24}", "--", ".", ":!*/tests/*"]
    search = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert search.returncode == 1, search.stdout + search.stderr  # no match
