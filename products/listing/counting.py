"""How many products a listing has, without reading them all.

Frequent matches are estimated from the planner's sample. Rare ones are counted through an index, up to a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, sqrt
from typing import NamedTuple

from farmlokal.counts import about
from products.listing import plans, statistics
from products.listing.conditions import Condition, Nothing, Priced
from products.listing.plans import Plan
from products.listing.queries import run
from products.listing.sources import PRODUCTS, Source, Sql
from products.listing.statistics import MAX_AGE_SECONDS, SAMPLE_ROWS, Statistics

MIN_SAMPLE_HITS = 8
MAX_ENTRIES = 500
MAX_ENTRIES_OF_SMALL_CATALOGUE = 5000  # more than its sample, because it may have grown since
MAX_RATIO = 4  # of the range's ends. Beyond it, one number would mislead.
Z = 1.96  # 95 % of a normal distribution


class Count(NamedTuple):
    """The number of products; if it is not exact, the best estimate within its 95 % range."""

    number: int
    low: int
    high: int

    @property
    def is_exact(self) -> bool:
        return self.low == self.high

    def __str__(self) -> str:
        if self.is_exact:
            return f"exactly {self.number:,}"
        if self.high > MAX_RATIO * self.low:
            return f"between {_floor(self.low):,} and {_ceil(self.high):,}"
        return about(self.number)

    def explain(self) -> str:
        """Where an inexact number comes from. Empty for an exact one."""
        if self.is_exact:
            return ""
        return (
            f"Estimated from a random sample of {SAMPLE_ROWS:,} products, at most {MAX_AGE_SECONDS // 60} minutes old."
            f" In 19 of 20 cases the true number is between {_floor(self.low):,} and {_ceil(self.high):,}."
        )


def count(conditions: Sequence[Condition], *, is_active: bool = True) -> Count:
    """The number of listed or withdrawn products that meet all conditions. At most one statement."""
    if any(isinstance(condition, Nothing) for condition in conditions):
        return Count(0, 0, 0)
    known = statistics.current(is_active=is_active)
    matches = known.all_products()
    for condition in conditions:
        matches &= condition.sampled(known, "created_at")
    hits = matches.bit_count()
    if hits >= MIN_SAMPLE_HITS and not known.is_complete:
        return _estimate(hits, known.scale)
    # In another order, a range of prices would be read completely.
    order = "price" if any(isinstance(condition, Priced) for condition in conditions) else "created_at"
    return _bounded(conditions, order, known, _estimate(hits, known.scale))


def _estimate(hits: int, scale: float) -> Count:
    """With Wilson's score interval, which also holds for no hits."""
    share, unit = hits / SAMPLE_ROWS, Z * Z / SAMPLE_ROWS
    middle = share + unit / 2
    width = Z * sqrt(share * (1 - share) / SAMPLE_ROWS + unit / SAMPLE_ROWS / 4)
    low, high = ((middle + sign * width) / (1 + unit) * SAMPLE_ROWS * scale for sign in (-1, 1))
    return Count(round(hits * scale), max(0, floor(low)), ceil(high))


def _bounded(conditions: Sequence[Condition], order: str, known: Statistics, estimate: Count) -> Count:
    """Exact if the limit is not reached. Otherwise the estimate, but not below the matches seen."""
    limit = MAX_ENTRIES_OF_SMALL_CATALOGUE if known.is_complete else MAX_ENTRIES
    plan = plans.choose(conditions, order, limit, known)
    if plan.checks:
        limit = max(plan.budget // len(plan.sources), 1)
    entries, matches = _read(plan, limit + 1)
    if entries <= limit:
        return Count(matches, matches, matches)
    return Count(max(matches, estimate.number), matches, max(matches + 1, estimate.high))


def _read(plan: Plan, limit: int) -> tuple[int, int]:
    """Entries of the plan's indexes, up to a limit, and how many of them meet its checks."""
    parts = [_entries(source, limit) for source in plan.sources]
    entries = " UNION ".join(f"({part.text})" for part in parts) if len(parts) > 1 else parts[0].text
    params = tuple(param for part in parts for param in part.params)
    if not plan.checks:  # without a table of entries, which MySQL would write and read again
        found = len(run(Sql(entries, params)))
        return found, found
    checks = Sql.all_of([Sql("p.id = d.id"), *(check.sql() for check in plan.checks)])
    text = f"SELECT COUNT(*), COUNT(p.id) FROM ({entries}) d LEFT JOIN {PRODUCTS} p ON {checks.text}"
    ((found, matches),) = run(Sql(text, (*params, *checks.params)))
    return int(found), int(matches)


def _entries(source: Source, limit: int) -> Sql:
    distinct = "DISTINCT " if source.has_repeats else ""
    text = f"SELECT {distinct}{source.key} AS id FROM {source.table_by_index()} WHERE {source.where.text} LIMIT %s"
    return Sql(text, (*source.where.params, limit))


def _unit(number: int) -> int:
    """The value of the second digit."""
    return int(10 ** max(0, len(str(number)) - 2))


def _floor(number: int) -> int:
    return number // _unit(number) * _unit(number)


def _ceil(number: int) -> int:
    return -(-number // _unit(number)) * _unit(number)
