"""Databases of their own, filled by seed_products: its phases, its memory, the size of the tables."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from typing import NamedTuple
from urllib.parse import urlsplit

import django

from dev.testing import mysql

# By the beginning of the line that ends the phase.
PHASES = {"Filling": "farms and products", "Adding": "postings"}
SIZE = "SELECT SUM(data_length + index_length) / 1e9 FROM information_schema.tables WHERE table_schema = DATABASE()"
LAST_PHASE = "keys and the swap"


class Filled(NamedTuple):
    seconds: dict[str, float]  # by phase; empty if it was full already
    megabytes: str  # of the command
    gigabytes: str


def fill(url: str, rows: int) -> Filled:
    """Leave a database as it is if it has so many products."""
    name = urlsplit(url).path[1:]
    with closing(mysql.connect(url, "")) as server:
        mysql.query(server, f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4")
    _manage(url, "migrate", "-v0").wait()
    with closing(mysql.connect(url)) as database:
        is_full = mysql.query(database, "SELECT MAX(id) FROM products_product") == [(rows,)]
        seconds, megabytes = ({}, "") if is_full else _seed(url, rows)
        return Filled(seconds, megabytes, f"{mysql.query(database, SIZE)[0][0]:.1f}")


def process_of(url: str) -> ProcessPoolExecutor:
    """A process of its own, in which Django uses this database."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_use, initargs=(url,))


def _use(url: str) -> None:
    os.environ["DATABASE_URL"] = url
    django.setup()


def _seed(url: str, rows: int) -> tuple[dict[str, float], str]:
    seconds: dict[str, float] = {}
    began = started = time.monotonic()
    process = _manage(url, "seed_products", str(rows), "--reset")
    assert process.stdout
    for line in process.stdout:
        print(f"{time.monotonic() - began:,.0f} s: {line}", end="", flush=True)
        seconds[PHASES.get(line.split()[0], LAST_PHASE)] = time.monotonic() - started
        started = time.monotonic()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return seconds | {"all": time.monotonic() - began}, f"{usage.ru_maxrss / 1024:.0f}"


def _manage(url: str, *arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"DATABASE_URL": url}
    return subprocess.Popen(
        [sys.executable, "-u", "manage.py", *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )
