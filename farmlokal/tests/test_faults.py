"""A short form of `make chaos`: what the service promises while a part fails. docs/reliability.md has the table."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from dev.chaos.rows import Row
from dev.chaos.table import ROWS
from dev.chaos.trial import run
from dev.chaos.world import SHORT, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), SHORT, os.environ) as started:
        yield started


@pytest.fixture(autouse=True)
def _complaints(world: World) -> Iterator[None]:
    """Pytest shows the service's last complaints if the test fails."""
    yield
    lines = [line for line in world.server.log.read_text().splitlines() if '"level":"info"' not in line]
    sys.stdout.write("\n".join(lines[-50:]))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_promise_holds(world: World, row: Row) -> None:
    assert run(world, row).broken == []
