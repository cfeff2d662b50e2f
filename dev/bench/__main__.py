"""python -m dev.bench NAME [NUMBER...]: run main() of dev/bench/NAME.py, imported after Django is set up."""

from __future__ import annotations

import importlib
import sys

import django

if __name__ == "__main__":
    django.setup()
    importlib.import_module(f"dev.bench.{sys.argv[1]}").main(*map(int, sys.argv[2:]))
