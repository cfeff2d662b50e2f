"""The plan of a page: which indexes to read it from.

A page reads either the whole catalogue in the order of the sort, or the products of one condition; choose() takes the
cheapest. The other conditions are checked on each product. A budget limits how many products one page may check.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from products.listing.conditions import Condition, OneOf, Priced
from products.listing.sources import ENTRY_COST, LOOKUP_COST, Source, Sql, whole_catalogue
from products.listing.statistics import SampleSet, Statistics

MIN_BUDGET = 1000
MAX_BUDGET = 10_000
BUDGET_PER_ESTIMATE = 2


class Plan(NamedTuple):
    sources: tuple[Source, ...]
    checks: tuple[Condition, ...]
    budget: int  # entries to read from ordered sources if there are checks
    price: Priced | None = None  # the one of the checks that needs no product, because the index has its price


class Option(NamedTuple):
    sources: list[Source]
    answers: list[Condition]  # the sources guarantee these conditions: they need no check
    sampled: SampleSet


def without_conditions(order: str, *, is_active: bool = True) -> Plan:
    return Plan((whole_catalogue(order, is_active=is_active),), (), 0)


def choose(conditions: Sequence[Condition], order: str, count: int, statistics: Statistics) -> Plan:
    """The cheapest plan for pages of `count` products, sorted by the field `order`."""
    matches = statistics.all_products()
    for condition in conditions:
        matches &= condition.sampled(statistics, order)
    plans = []
    for option in _options(conditions, order, statistics):
        checks = tuple(condition for condition in conditions if condition not in option.answers)
        price = _price_of(checks) if all(source.is_whole for source in option.sources) else None
        reads = statistics.estimate_reads(option.sampled, matches, count) if checks else count
        lookups = reads * _share(price.sampled(statistics, order), option.sampled) if price else reads
        budget = int(min(max(MIN_BUDGET, BUDGET_PER_ESTIMATE * reads), MAX_BUDGET)) if checks else 0
        cost = lookups * LOOKUP_COST + budget * ENTRY_COST + sum(source.cost for source in option.sources)
        plans.append((cost, Plan(tuple(option.sources), checks, budget, price)))
    return cheapest(plans)


def _price_of(conditions: Sequence[Condition]) -> Priced | None:
    return next((condition for condition in conditions if isinstance(condition, Priced)), None)


def _share(some: SampleSet, of: SampleSet) -> float:
    return (some & of).bit_count() / max(1, of.bit_count())


def cheapest(plans: list[tuple[float, Plan]]) -> Plan:
    return min(plans, key=lambda plan: plan[0])[1]


def _options(conditions: Sequence[Condition], order: str, statistics: Statistics) -> Iterator[Option]:
    price = _price_of(conditions)
    if price and order == "price":
        yield from _options_sorted_by_price(conditions, price, statistics)
        return
    yield Option([whole_catalogue(order, is_active=statistics.is_active)], [], statistics.all_products())
    for condition in conditions:
        sampled = condition.sampled(statistics, order)
        if sources := list(condition.sources(statistics, order)):
            yield Option(sources, [condition], sampled)
        if price and isinstance(condition, OneOf):
            in_range = sampled & price.sampled(statistics, order)
            narrow = [price.narrow(s, in_range, statistics) for s in condition.sources(statistics, "price")]
            yield Option(narrow, [condition, price], in_range)


def _options_sorted_by_price(
    conditions: Sequence[Condition], price: Priced, statistics: Statistics
) -> Iterator[Option]:
    """The range of prices bounds whichever source is read."""
    others = [condition for condition in conditions if condition != price]
    in_range = price.sampled(statistics, "price")
    for option in _options(others, "price", statistics):
        sources = [s._replace(where=Sql.all_of([s.where, price.bounds(f"{s.alias}.price")])) for s in option.sources]
        yield Option(sources, [*option.answers, price], option.sampled & in_range)
