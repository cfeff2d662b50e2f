"""The tables and the picture of docs/capacity.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dev.bench.figures import read, table
from dev.capacity import inputs
from dev.capacity.limits import RATE_LIMITS, SIZE_LIMITS, Limit, next_limit, reached_at_rate, reached_at_size
from dev.capacity.model import Load, dollars_a_month, fleet, need
from dev.docs.drawing import Chart

RATES = (1_000, 10_000, 100_000, 1_000_000)
SIZES = (10**6, 10**7, 10**8, 10**9)
SETUPS = {
    "default": Load(0, SIZES[0]),
    "coalesced": Load(0, SIZES[0], inputs.COALESCE_SECONDS),
    "coalesced, CDN": Load(0, SIZES[0], inputs.COALESCE_SECONDS, has_cdn=True),
}
BEST = SETUPS["coalesced, CDN"]
CELL_NAMES = 9
PRICES = ("CORE_MONTH", "GB_MONTH", "DISK_GB_MONTH", "EGRESS_GB", "CDN_GB", "CDN_MILLION")


def rates_table() -> str:
    """For the smallest number of products."""
    head = (
        *("Requests a second", "Setup", "Hits, %", "Service: cores", "Instances", "MySQL: cores", "MySQL servers"),
        *("Redis: GB", "Redis nodes", "Gbit/s", "Partner calls a second", "$ a month", "Next limit"),
    )
    return table(head, [_rate_row(load, name) for load, name in _loads()])


def _loads() -> Iterator[tuple[Load, str]]:
    yield from ((setup._replace(rate=rate), name) for rate in RATES for name, setup in SETUPS.items())


def _rate_row(load: Load, name: str) -> tuple[str, ...]:
    it, found = need(load), fleet(need(load))
    return (
        *(f"{load.rate:,.0f}", name, f"{100 * it.hits:.0f}", _short(it.service_cores), f"{found.instances:,}"),
        _short(it.page_cores + it.row_cores + it.write_cores),
        f"{found.database_servers:,} of {found.database_cores} cores",
        *(_short(it.redis_gb), f"{found.redis_nodes:,}", _short(it.origin_bytes * 8 / 1e9)),
        *(_short(it.partner_calls), _money(dollars_a_month(it)), next_limit(it, RATE_LIMITS)),
    )


def sizes_table() -> str:
    """For the lowest rate."""
    head = (
        *("Products", "Database, GB", "MySQL's memory, GB", "Seeding, hours", "Shards", "MySQL servers"),
        *("Redis: GB", "$ a month", "Next limit"),
    )
    return table(head, [_size_row(SETUPS["default"]._replace(rate=RATES[0], products=products)) for products in SIZES])


def _size_row(load: Load) -> tuple[str, ...]:
    it, found = need(load), fleet(need(load))
    return (
        *(f"{load.products:,}", _short(it.database_gb), f"{found.database_gb:,}", _short(it.seeding_hours)),
        *(f"{found.shards}", f"{found.database_servers}", _short(it.redis_gb), _money(dollars_a_month(it))),
        next_limit(it, SIZE_LIMITS),
    )


def limits_table() -> str:
    head = ("Limit", *(f"Reached: {name}" for name in SETUPS), "Then")
    at_rate = [_limit_row(limit, [reached_at_rate(limit, setup) for setup in SETUPS.values()]) for limit in RATE_LIMITS]
    in_order = sorted(at_rate, key=lambda row: row[0])
    rows = [cells for _, cells in in_order]
    for limit in SIZE_LIMITS:
        products = _short(reached_at_size(limit, SETUPS["default"]._replace(rate=RATES[0])))
        rows.append((limit.name, *[f"{products} products"] * len(SETUPS), limit.then))
    return table(head, rows)


def _limit_row(limit: Limit, reached: Sequence[float]) -> tuple[float, tuple[str, ...]]:
    return reached[0], (limit.name, *(f"{_short(rate)} a second" for rate in reached), limit.then)


def costs_table() -> str:
    """Dollars a month, and for a million requests."""
    head = ("$ a month ($ for a million requests)", *(f"{products:,} products" for products in SIZES))
    rows = []
    for rate in RATES:
        millions = rate * inputs.MEAN_SHARE * inputs.MONTH_SECONDS / 1e6
        dollars = [dollars_a_month(need(BEST._replace(rate=rate, products=products))) for products in SIZES]
        rows.append((f"{rate:,} a second", *(f"{_money(cost)} ({cost / millions:.2f})" for cost in dollars)))
    return table(head, rows)


def inputs_table() -> str:
    """The traffic, and the prices."""
    shares = ", ".join(f"{kind} {100 * share:.1f} %" for kind, share in inputs.mix().items())
    values = vars(inputs)
    prices = ", ".join(f"`{name}` {values[name]:g}" for name in PRICES)
    rows = [("Traffic, as in `make load`", shares), ("Prices, $, of November 2026", prices)]
    names = [name for name in values if name.isupper() and name not in {*PRICES, "KINDS"}]
    rows += [
        ("Other assumptions", ", ".join(f"`{name}` {values[name]:,}" for name in part)) for part in _batched(names)
    ]
    return table(("Input", "Value"), rows)


def check_table() -> str:
    """The model beside the rates of `make load`, in percent of a core."""
    figures = read("load_users")
    parts = ("workers", "MariaDB", "Redis")
    columns = [figures["columns"].index(f"CPU of {part}, %") for part in parts]
    rows = []
    for row in figures["rows"]:
        it = need(SETUPS["default"]._replace(rate=float(row[1])))
        cores = (it.service_cores, it.page_cores + it.row_cores + it.write_cores, it.redis_cores)
        cells = (f"{row[column]} ({100 * used:.0f})" for column, used in zip(columns, cores, strict=True))
        rows.append((row[1], *cells))
    return table(("Requests a second", *(f"CPU of {part}, %: measured (model)" for part in parts)), rows)


def chart() -> Chart:
    """Cores of all instances by rate."""
    rows = []
    for rate in RATES:
        cores = (need(setup._replace(rate=rate)).service_cores for setup in SETUPS.values())
        rows.append((f"{rate:,} a second", [f"{1000 * count / rate:.2f}" for count in cores]))
    source = f"make capacity, from {read('costs')['command']} of {read('costs')['measured_at']}"
    note = f"A million products, traffic of make load. Coalesced: PAGE_COALESCE_SECONDS={inputs.COALESCE_SECONDS:g}."
    return Chart("Cores for 1,000 requests a second (less is better)", (note, source), list(SETUPS), rows)


def _batched(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """A cell of the table has room for a few."""
    return (names[start : start + CELL_NAMES] for start in range(0, len(names), CELL_NAMES))


def _short(value: float) -> str:
    """Two digits, because the figures are not more exact."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded.is_integer() else f"{rounded:g}"


def _money(dollars: float) -> str:
    return f"{float(f'{dollars:.2g}'):,.0f}"


TABLES = {
    "rates": rates_table,
    "sizes": sizes_table,
    "limits": limits_table,
    "costs": costs_table,
    "check": check_table,
    "inputs": inputs_table,
}
