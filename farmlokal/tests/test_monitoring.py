"""The rules and the dashboard: their alerts fire when they should, and all that they query exists in a live service."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from dev.docs.pages import PROJECT, anchors, blocks
from dev.testing.deliveries import SECRET, Delivery, event
from dev.testing.offers import make_offer
from dev.testing.programs import program
from dev.testing.prometheus import Prometheus, scraping
from dev.testing.servers import Server, running
from dev.testing.waiting import wait_until
from integrations.models import WebhookEvent

MONITORING = PROJECT / "monitoring"
RULES = MONITORING / "alerts.yml"
TESTS = MONITORING / "alerts_test.yml"
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
OBJECTIVES = [rule["labels"]["slo"] for rule in GROUPS[0]["rules"] if rule.get("record") == "slo:objective:ratio"]

SELECTOR = re.compile(r"\b((?:farmlokal_|slo:|up\b|ALERTS\b|scrape_)[\w:]*)(?:\{((?:[^{}]|\{pk\})*)\})?")
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"')
GRAFANA = {"$__rate_interval": "5m", "$instance": ".*"}


def promtool(*arguments: str) -> None:
    done = subprocess.run([program("promtool"), *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_are_valid() -> None:
    promtool("check", "rules", str(RULES))


def test_each_alert_fires_and_stays_quiet_as_it_should() -> None:
    promtool("test", "rules", str(TESTS))
    firing = set(re.findall(r'alertname="(\w+)"', TESTS.read_text()))
    assert firing == set(ALERTS)


# Runbook


def test_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    named = set()
    for alert in ALERTS.values():
        url: str = alert["annotations"]["runbook_url"]
        for objective in OBJECTIVES:
            page, _, anchor = url.replace("{{ $labels.slo }}", objective).partition("#")
            assert anchor in anchors(PROJECT / page), url
            named.add(anchor)
    sections = re.findall("^### (.+)$", (PROJECT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert {section.lower() for section in sections} == named


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_what_is_wrong_and_how_urgent_it_is(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert {"summary", "description", "runbook_url"} == alert["annotations"].keys()


def test_slo_page_states_the_objectives_of_the_rules() -> None:
    page = (PROJECT / "docs/slo.md").read_text()
    for rule in GROUPS[0]["rules"]:
        if rule.get("record") == "slo:objective:ratio":
            (share,) = re.findall(r"vector\((.+)\)", rule["expr"])
            assert re.search(rf"\[{rule['labels']['slo']}\].*\| {float(share) * 100:g} % \|", page)


# Dashboard


def area(panel: dict[str, Any]) -> set[tuple[int, int]]:
    at = panel["gridPos"]
    return set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))


def test_panels_fill_the_grid_without_overlaps() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert not taken & area(panel), panel["title"]
        taken |= area(panel)
    assert {x for x, _ in taken} == set(range(24))
    assert len(taken) == 24 * (max(y for _, y in taken) + 1)


def test_panels_are_explained_and_use_the_chosen_data_source() -> None:
    for panel in PANELS:
        assert panel["description"], panel["title"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        is_number = panel["type"] in {"stat", "timeseries"}
        assert "unit" in panel["fieldConfig"]["defaults"] or not is_number, panel["title"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


# A live service under a live Prometheus


def send_traffic(server: Server) -> None:
    """All kinds of requests that panels show: hits, misses, 4xx and 5xx, quotes, and webhooks with each outcome."""
    product = make_offer()
    for target in ("/products", "/products", "/livez", f"/products/{product.pk}", "/products?sort=bad"):
        server.request(target)
    assert server.request(f"/products/{product.pk}/delivery-quote?pincode=560001").status == 503
    for number in (product.pk, product.pk + 1):
        delivery = Delivery(event(number))
        assert server.post("/webhooks/partner", delivery.body, [*delivery.headers.items()]).status == 200


@pytest.fixture(scope="module")
def prometheus(
    live_database: None, database_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """It has scraped traffic and evaluated all rules."""
    WebhookEvent.objects.create(webhook_id="dead", status="dead", payload=b"")
    with running(database_environment, WEB_CONCURRENCY="1", PARTNER_WEBHOOK_SECRETS=SECRET) as server:
        send_traffic(server)
        with scraping(server.port, RULES, tmp_path_factory.mktemp("prometheus")) as started:
            wait_until(lambda: started.query("slo:events:rate5m"))
            send_traffic(server)
            wait_until(lambda: len(started.query("slo:burn_rate:30d")) == len(OBJECTIVES))
            wait_until(lambda: started.query('ALERTS{alertname="WebhooksDead",alertstate="firing"}'))
            yield started


def queries() -> Iterator[tuple[str, str, str]]:
    """(where, PromQL, legend) of all panels and of the indicators in the docs."""
    for panel in PANELS:
        for target in panel["targets"]:
            text = target["expr"]
            for variable, value in GRAFANA.items():
                text = text.replace(variable, value)
            yield panel["title"], text, target["legendFormat"]
    for block in blocks(PROJECT / "docs/slo.md"):
        yield "slo.md", block.text, ""


def expressions() -> Iterator[tuple[str, str]]:
    for group in GROUPS:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]
    for where, text, _ in queries():
        yield where, text


def test_each_panel_and_indicator_shows_something(prometheus: Prometheus) -> None:
    empty = []
    for where, text, legend in queries():
        labels = set(re.findall(r"{{(\w+)}}", legend))
        numbers = [sample for sample in prometheus.query(text) if sample["value"][1] != "NaN"]
        if not any(labels <= sample["metric"].keys() for sample in numbers):
            empty.append((where, text))
    assert empty == []


def test_each_metric_and_label_of_a_query_exists(prometheus: Prometheus) -> None:
    """An alert's query is empty while all is well, so its parts are looked up."""
    missing = set()
    for where, text in expressions():
        found = SELECTOR.findall(text)
        assert found or text.startswith("vector"), text
        for metric, matchers in found:
            labels = ",".join(f'{label}!=""' for label in MATCHER.findall(matchers))
            if not prometheus.query(f"{metric}{{{labels}}}"):
                missing.add((where, metric, labels))
    assert missing == set()


def test_prometheus_evaluates_each_rule(prometheus: Prometheus) -> None:
    rules = prometheus.rules()
    assert len(rules) == sum(len(group["rules"]) for group in GROUPS)
    assert {rule["health"] for rule in rules} == {"ok"}
