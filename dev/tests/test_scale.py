"""A short form of `make test-scale`: one test of each promise that several servers could break, on both groups."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROMISES = [
    "accounts/tests/test_tokens.py::test_expired_token_is_refreshed_once_for_all_processes",
    "farmlokal/tests/test_ratelimit.py::test_two_servers_share_one_bucket",
    "farmlokal/tests/test_edge.py::test_pages_survive_a_restart",
    "integrations/tests/test_webhook_races.py::test_one_of_fifty_copies_is_processed",
    "integrations/tests/test_webhook_races.py::test_simultaneous_events_leave_the_highest_version",
    "products/tests/test_concurrent_writes.py::test_concurrent_patches_are_applied_one_by_one",
    "products/tests/test_concurrent_writes.py::test_concurrent_posts_with_one_key_create_one_product",
    "products/tests/test_seed_products.py::test_catalogue_is_determined_by_the_seed",
]


@pytest.mark.parametrize("group", ["replica", "galera"])
def test_promises_hold_on_several_servers(group: str) -> None:
    own = {"DATABASE_URL", "DATABASE_REPLICA_URL", "REDIS_URL", "REDIS_HASH_TAGS", "REDIS_KEY_PREFIX"}
    environment = {name: value for name, value in os.environ.items() if name not in own and "XDIST" not in name}
    environment |= {"SCALE": group, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "dev.scale", "-n", "0", "-q", *PROMISES]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=550)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
