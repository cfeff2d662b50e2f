"""make capacity: print the tables, write them into docs/capacity.md, and draw its picture."""

from __future__ import annotations

import sys

from dev.capacity.report import TABLES
from dev.docs.charts import PICTURES, charts
from dev.docs.generate import CAPACITY, generated

if __name__ == "__main__":
    sys.stdout.write("\n\n".join([*(make() for make in TABLES.values()), ""]))
    CAPACITY.write_text(generated(CAPACITY.read_text()))
    picture = PICTURES / "capacity.svg"
    picture.write_text(charts()[picture])
