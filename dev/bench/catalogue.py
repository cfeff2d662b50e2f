"""Databases with a given number of sample products, kept for the next run."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

from dev.testing.mysql import connect, query


def seeded(rows: int) -> str:
    """The DATABASE_URL of a database with this many products, created if necessary."""
    name = f"farmlokal_bench_{rows}"
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
    query(connect(url, ""), f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4")
    _manage(url, "migrate", "--noinput", "--verbosity=0")
    ((count,),) = query(connect(url), "SELECT COUNT(*) FROM products_product")
    if count != rows:
        _manage(url, "seed_products", str(rows), "--reset")
    _analyze(connect(url))
    return url


def _analyze(connection: Any) -> None:
    """MariaDB counts the rows a while after a seeding. Until then its plans differ from run to run."""
    names = ", ".join(name for (name,) in query(connection, "SHOW TABLES LIKE 'products\\_%'"))
    query(connection, f"ANALYZE TABLE {names}")


def _manage(url: str, *arguments: str) -> None:
    environment = os.environ | {"DATABASE_URL": url}
    subprocess.run([sys.executable, "manage.py", *arguments], env=environment, stdout=sys.stderr, check=True)
