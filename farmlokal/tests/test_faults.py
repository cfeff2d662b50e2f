"""A short form of `make chaos`: what the service promises while a part fails. docs/reliability.md has the table."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from dev.chaos.table import ROWS
from dev.chaos.trial import Row, run
from dev.chaos.world import SHORT, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("world"), SHORT, os.environ) as started:
        yield started


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_promise_holds(world: World, row: Row) -> None:
    assert run(world, row).broken == []
