"""The SQL of the listing: one statement for a page."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django.db import connection

from farmlokal.mysql.replicas import reading_connection
from products.listing import plans, statistics
from products.listing.conditions import Condition, Nothing
from products.listing.listings import Position, Rows, Sort
from products.listing.plans import Plan
from products.listing.sources import POSTINGS, PRODUCTS, Source, Sql
from products.models import ROW_COLUMNS, Farm, Product, VocabularyVersion

SELECTED = ", ".join(
    [
        *(f"p.{column}" for column in ROW_COLUMNS),
        "f.name",
        f"(SELECT version FROM {VocabularyVersion._meta.db_table} WHERE id = 1)",
    ]
)
COLUMN_NAMES = (*ROW_COLUMNS, "farm_name", "vocabulary_version", "has_others")
FARMS = f"`{Farm._meta.db_table}`"


def find(
    conditions: Sequence[Condition], sort: Sort, after: Position | None, count: int, *, is_active: bool = True
) -> Rows:
    """The first `count` products after a position that meet all conditions, in the order of the sort.

    is_active: listed products, or withdrawn ones.
    """
    if any(isinstance(condition, Nothing) for condition in conditions):
        return Rows([])
    if not conditions:
        return _stream(plans.without_conditions(sort.field, is_active=is_active), sort, after, count)
    known = statistics.current(is_active=is_active)
    plan = plans.choose(conditions, sort.field, count, known)
    if _may_stream(plan) and plan.sources[-1] not in known.nonempty_sources:
        found = _stream(plan, sort, after, count)
        if len(plan.sources) == 1 or (found.rows and not found.rows[0]["has_others"]):
            return found
        if found.rows:
            known.nonempty_sources.add(plan.sources[-1])
    return _until_end(run(_merge_statement(plan, sort, after, count)), sort)


def _may_stream(plan: Plan) -> bool:
    """One ordered source without checks. A second source of longer words is allowed: it is probably empty."""
    source, *others = plan.sources
    is_alone = not others or (len(others) == 1 and others[0].has_repeats)
    return source.is_ordered and is_alone and not plan.checks


def run(statement: Sql) -> Sequence[Sequence[Any]]:
    with reading_connection().cursor() as cursor:
        cursor.execute(statement.text, statement.params)
        rows: Sequence[Sequence[Any]] = cursor.fetchall()
    return rows


def _stream(plan: Plan, sort: Sort, after: Position | None, count: int) -> Rows:
    return Rows([_as_dict(row) for row in run(_stream_statement(plan, sort, after, count))])


def _stream_statement(plan: Plan, sort: Sort, after: Position | None, count: int) -> Sql:
    """Reads one index and looks up its products: no more rows than the page shows.

    The last column of each row tells whether a second source has entries (words that only begin with the prefix).
    """
    source, *others = plan.sources
    product = f" STRAIGHT_JOIN {PRODUCTS} p ON p.id = {source.key}" if source.table == POSTINGS else ""
    where = Sql.all_of([source.where, *_after(source, sort, after)])
    other = Sql("FALSE")
    if others:
        where_other = others[0].where
        other = Sql(f"EXISTS (SELECT 1 FROM {others[0].table_by_index()} WHERE {where_other.text})", where_other.params)
    text = (
        f"SELECT {SELECTED}, {other.text} FROM {source.table_by_index()}{product}"
        f" STRAIGHT_JOIN {FARMS} f ON f.id = p.farm_id WHERE {where.text}"
        f" {_order_by(_column(source, sort), source.key, sort)} LIMIT %s"
    )
    return Sql(text, (*other.params, *where.params, count))


def _merge_statement(plan: Plan, sort: Sort, after: Position | None, count: int) -> Sql:
    """First reads ids from all sources, in order and within the budget, then the products that pass the checks.

    If the index has the price, products outside the range are not looked up.
    If a source has more entries than its budget, the next entry is a row without a product (is_end).
    """
    entries: list[Sql] = []
    columns = ", p.price" if plan.price else ""
    budget = max(plan.budget // len(plan.sources), count)
    for source in plan.sources:
        if not plan.checks:
            entries.append(_entries(source, sort, after, "LIMIT %s", (count,)))
        elif not source.is_ordered:
            entries.append(_entries(source, sort, after, "", ()))
        else:
            entries.append(_entries(source, sort, after, "LIMIT %s", (budget,), columns))
            entries.append(_entries(source, sort, after, "LIMIT 1 OFFSET %s", (budget,), columns, is_end=True))
    union = " UNION " if len(plan.sources) > 1 else " UNION ALL "  # one source has nothing twice, so spare the check
    rows = union.join(f"({entry.text})" for entry in entries) if len(entries) > 1 else entries[0].text
    others = [check.sql() for check in plan.checks if check != plan.price]
    checks = Sql.all_of([Sql("p.id = d.id AND d.is_end = 0"), *others])
    where = Sql("(d.is_end = 1 OR p.id IS NOT NULL)")
    if plan.price:
        bounds = plan.price.bounds("d.price")
        where = Sql(f"(d.is_end = 1 OR {bounds.text}) AND {where.text}", bounds.params)
    text = (
        f"SELECT d.value, d.id, d.is_end, {SELECTED}, FALSE FROM ({rows}) d"
        f" LEFT JOIN {PRODUCTS} p ON {checks.text} LEFT JOIN {FARMS} f ON f.id = p.farm_id"
        f" WHERE {where.text} {_order_by('d.value', 'd.id', sort)}, d.is_end DESC LIMIT %s"
    )
    params = tuple(param for entry in entries for param in entry.params)
    return Sql(text, (*params, *checks.params, *where.params, count))


def _entries(
    source: Source,
    sort: Sort,
    after: Position | None,
    limit: str,
    limits: tuple[int, ...],
    columns: str = "",
    *,
    is_end: bool = False,
) -> Sql:
    where = Sql.all_of([source.where, *_after(source, sort, after)])
    value = _column(source, sort)
    distinct = "DISTINCT " if source.has_repeats else ""
    order = f" {_order_by(value, source.key, sort)} {limit}" if limit else ""
    text = (
        f"SELECT {distinct}{value} AS value, {source.key} AS id, {int(is_end)} AS is_end{columns}"
        f" FROM {source.table_by_index()} WHERE {where.text}{order}"
    )
    return Sql(text, (*where.params, *limits))


def _column(source: Source, sort: Sort) -> str:
    return f"{source.alias}.{sort.field}"


def _order_by(value: str, key: str, sort: Sort) -> str:
    direction = "DESC" if sort.is_descending else "ASC"
    return f"ORDER BY {value} {direction}, {key} {direction}"


def _after(source: Source, sort: Sort, after: Position | None) -> list[Sql]:
    if after is None:
        return []
    field: Any = Product._meta.get_field(sort.field)
    value = field.get_db_prep_value(after.value, connection)
    return [rows_after(_column(source, sort), source.key, sort, value, after.pk)]


def rows_after(column: str, key: str, sort: Sort, value: Any, pk: int) -> Sql:
    """The expanded predicate; MySQL reads (value, id) < (x, y) as a scan of the whole index. value: as stored."""
    operator = "<" if sort.is_descending else ">"
    return Sql(f"({column} {operator} %s OR ({column} = %s AND {key} {operator} %s))", (value, value, pk))


def _until_end(rows: Sequence[Sequence[Any]], sort: Sort) -> Rows:
    products: list[dict[str, Any]] = []
    for value, pk, is_end, *columns in rows:
        if is_end:
            return Rows(products, sort.just_before(utc(value), pk))
        products.append(_as_dict(columns))
    return Rows(products)


def _as_dict(columns: Sequence[Any]) -> dict[str, Any]:
    row = dict(zip(COLUMN_NAMES, columns, strict=True))
    row["organic"] = bool(row["organic"])
    for name in ("created_at", "updated_at"):
        row[name] = utc(row[name])
    return row


def utc(value: Any) -> Any:
    """A value that a cursor has read: times get their zone."""
    return value.replace(tzinfo=dt.UTC) if isinstance(value, dt.datetime) else value
