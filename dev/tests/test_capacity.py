"""The model of docs/capacity.md, against rows that were computed by hand. test_docs.py compares the page with it."""

from __future__ import annotations

import math

import pytest

from dev.bench.figures import read
from dev.capacity import inputs, traffic
from dev.capacity.inputs import Cost
from dev.capacity.limits import RATE_LIMITS, SIZE_LIMITS, next_limit, reached_at_rate, reached_at_size
from dev.capacity.model import Load, dollars_a_month, fleet, need
from dev.capacity.report import RATES, SETUPS, SIZES
from dev.capacity.traffic import Flow

SMALL = Load(1_000, 10**6)


def test_zipf_shares_are_those_of_the_ranks() -> None:
    flows = traffic.zipf(11, 3)
    assert [flow.rate for flow in flows] == pytest.approx([6, 3, 2])
    assert [flow.number for flow in flows] == [1, 1, 1]
    assert traffic.total(traffic.zipf(500, 10**9)) == pytest.approx(500)


def test_cache_misses_once_for_each_address_and_lifetime() -> None:
    flows = [Flow(100, 1), Flow(0.01, 50)]
    assert traffic.misses(flows, 10) == pytest.approx((1 + 50 * (1 - math.exp(-0.1))) / 10)
    (behind,) = traffic.behind([Flow(100, 1)], places=2, seconds=30)
    assert behind.rate == pytest.approx(2 * 50 / (1 + 50 * 30))


def test_row_equals_the_one_computed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """90 reads of one page and 10 writes a second: a generation lasts 0.1 s, so each has one miss and 8 hits."""
    shares = dict.fromkeys(inputs.KINDS, 0.0) | {"page": 0.9, "PATCH": 0.1}
    nothing = Cost(0, 0, 0, 0, 0, 0, 0)
    costs = dict.fromkeys(inputs.costs(), nothing) | {
        "cold page": Cost(20, 5, 0.5, 1, 2, 20_000, 2_000),
        "hot page": Cost(1, 0, 0.1, 0, 0.5, 0, 2_000),
        "PATCH": Cost(30, 10, 1, 6, 3, 0, 1_000),
    }
    monkeypatch.setattr(inputs, "mix", lambda: shares)
    monkeypatch.setattr(inputs, "costs", lambda: costs)
    monkeypatch.setattr(inputs, "PAGES", 1)
    row = need(Load(100, 10**6))
    assert row.hits == pytest.approx(8 / 9, abs=0.001)
    assert row.service_cores == pytest.approx((10 * 20 + 80 * 1 + 10 * 30) / 1000, rel=0.001)
    assert [row.page_cores, row.write_cores] == pytest.approx([0.05, 0.1], rel=0.001)
    assert row.redis_trips == pytest.approx(10 * 2 + 80 * 0.5 + 10 * 3, rel=0.001)
    assert row.changes == 10
    assert row.redis_gb == pytest.approx(20_000 / 1e9)
    assert row.origin_bytes == pytest.approx(90 * 2_000 + 10 * 1_000)
    found = fleet(row)
    assert (found.instances, found.shards, found.replicas, found.database_cores, found.redis_nodes) == (2, 1, 1, 2, 1)


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
def test_more_traffic_or_products_never_need_less(setup: Load) -> None:
    loads = [setup._replace(rate=rate, products=products) for rate in RATES for products in SIZES]
    for load in loads:
        for larger in (load._replace(rate=load.rate * 2), load._replace(products=load.products * 2)):
            before, after = need(load), need(larger)
            assert after.service_cores >= before.service_cores
            assert after.database_gb >= before.database_gb
            assert after.redis_gb >= before.redis_gb
            assert fleet(after).instances >= fleet(before).instances
            assert dollars_a_month(after) >= dollars_a_month(before) * 0.999


def test_coalescing_and_a_cdn_save_cores() -> None:
    for rate in RATES:
        default, coalesced, behind_cdn = (need(setup._replace(rate=rate)) for setup in SETUPS.values())
        assert default.service_cores > coalesced.service_cores > behind_cdn.service_cores
        assert behind_cdn.origin_bytes < behind_cdn.visitor_bytes
        assert coalesced.origin_bytes == pytest.approx(coalesced.visitor_bytes)


def test_next_limit_changes_where_a_limit_is_reached() -> None:
    in_order = sorted(RATE_LIMITS, key=lambda limit: reached_at_rate(limit, SMALL))
    assert next_limit(need(SMALL._replace(rate=10)), RATE_LIMITS) == in_order[0].name == "CPU of one instance"
    for limit in in_order:
        reached = reached_at_rate(limit, SMALL)
        assert limit.used(need(SMALL._replace(rate=reached * 0.99))) < 1
        assert next_limit(need(SMALL._replace(rate=reached * 1.01)), RATE_LIMITS) != limit.name


def test_model_is_near_the_cpu_time_of_real_traffic() -> None:
    figures = read("load_users")
    column = figures["columns"].index("CPU of workers, %")
    for row in figures["rows"]:
        assert 0.5 < need(SMALL._replace(rate=float(row[1]))).service_cores * 100 / float(row[column]) < 2


def test_shards_begin_where_memory_ends() -> None:
    products = reached_at_size(SIZE_LIMITS[0], SMALL)
    assert fleet(need(SMALL._replace(products=int(products * 0.99)))).shards == 1
    assert fleet(need(SMALL._replace(products=int(products * 1.01)))).shards == 2
