"""What a page costs at each depth, with its forced index and as the optimizer likes it.

Rows read are counted by the server (Handler_read%), without noise; times are medians of one statement.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import django
from django.core.management import call_command
from django.db import connection
from django.db.models import Q

if TYPE_CHECKING:
    from django.db.models import QuerySet

LIMIT = 26  # a page of 25, and the row that says whether there is a next one
REPEATS = 7


def reads(queryset: QuerySet[Any]) -> tuple[int, float]:
    """Rows read by the statement, and its median milliseconds."""
    times = []
    for _ in range(REPEATS):
        before = _handler_reads()
        asking = _handler_reads() - before
        start = time.perf_counter()
        list(queryset.all())
        times.append((time.perf_counter() - start) * 1000)
        count = _handler_reads() - before - 2 * asking
    return count, statistics.median(times)


def _handler_reads() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
        return sum(int(value) for _, value in cursor.fetchall())


def main(rows: int) -> None:
    django.setup()
    from products.models import Product  # noqa: PLC0415  # once Django is set up

    call_command("migrate", verbosity=0)
    call_command("seed_products", rows, "--reset")
    print("| sort | page | rows read, forced | ms | rows read, left alone | ms |\n|---|---|---|---|---|---|")
    for sort in ("-created_at", "created_at", "-price", "price", "-name", "name"):
        field, operator = sort.removeprefix("-"), "lt" if sort.startswith("-") else "gt"
        ordered = Product.objects.listed().order_by(sort, sort.replace(field, "pk"))
        for page, depth in {"first": 0, "middle": rows // 2, "last": rows - LIMIT}.items():
            queryset = ordered
            if depth:
                value, pk = ordered.force_index(f"product_{field}").values_list(field, "pk")[depth]
                queryset = ordered.filter(
                    Q(**{f"{field}__{operator}": value}) | Q(**{field: value, f"pk__{operator}": pk})
                )
            forced = reads(queryset.force_index(f"product_{field}").rows()[:LIMIT])
            alone = reads(queryset.rows()[:LIMIT])
            print(f"| `{sort}` | {page} | {forced[0]:,} | {forced[1]:.2f} | {alone[0]:,} | {alone[1]:.2f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]))
