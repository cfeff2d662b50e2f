"""Which index a page is read through.

The cheapest of: the whole catalogue in its order; the products of one condition. What that leaves open is
checked at each product, and a budget bounds how many products one page may look at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from products.listing.conditions import ENTRY_COST, LOOKUP_COST, OneOf, Priced, Sql, whole_catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from products.listing.conditions import Condition, Source
    from products.listing.statistics import Statistics

MIN_BUDGET = 1000
MAX_BUDGET = 10_000
BUDGET_PER_ESTIMATE = 2


class Plan(NamedTuple):
    sources: tuple[Source, ...]
    checks: tuple[Condition, ...]
    budget: int  # of entries that a page with checks reads from ordered sources; without, it reads what it shows


class Option(NamedTuple):
    sources: list[Source]
    answers: list[Condition]  # what needs no check any more
    products: int  # the set, in terms of the statistics


def everything(order: str) -> Plan:
    return Plan((whole_catalogue(order),), (), 0)


def choose(conditions: Sequence[Condition], order: str, count: int, statistics: Statistics) -> Plan:
    """The plan for pages of `count` products in the order of a sort field."""
    wanted = statistics.everything()
    for condition in conditions:
        wanted &= condition.products(statistics, order)
    plans = []
    for option in _options(conditions, order, statistics):
        checks = tuple(condition for condition in conditions if condition not in option.answers)
        read = statistics.walk(option.products, wanted, count) if checks else count
        budget = int(min(max(MIN_BUDGET, BUDGET_PER_ESTIMATE * read), MAX_BUDGET)) if checks else 0
        cost = read * LOOKUP_COST + budget * ENTRY_COST + sum(source.cost for source in option.sources)
        plans.append((cost, Plan(tuple(option.sources), checks, budget)))
    return cheapest(plans)


def cheapest(plans: list[tuple[float, Plan]]) -> Plan:
    return min(plans, key=lambda plan: plan[0])[1]


def _options(conditions: Sequence[Condition], order: str, statistics: Statistics) -> Iterator[Option]:
    price = next((condition for condition in conditions if isinstance(condition, Priced)), None)
    if price and order == "price":
        # Two ends of the very order that is read: part of whatever source that is.
        others = [condition for condition in conditions if condition != price]
        among = price.products(statistics, order)
        for option in _options(others, order, statistics):
            sources = [
                s._replace(where=Sql.all_of([s.where, price.bounds(f"{s.alias}.price")])) for s in option.sources
            ]
            yield Option(sources, [*option.answers, price], option.products & among)
        return
    yield Option([whole_catalogue(order)], [], statistics.everything())
    for condition in conditions:
        products = condition.products(statistics, order)
        if sources := list(condition.sources(statistics, order)):
            yield Option(sources, [condition], products)
        if price and isinstance(condition, OneOf):
            priced = products & price.products(statistics, order)
            narrow = [price.narrowing(s, priced, statistics) for s in condition.sources(statistics, "price")]
            yield Option(narrow, [condition, price], priced)
