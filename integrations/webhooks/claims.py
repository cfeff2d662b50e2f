"""What Redis answers a storm of copies with: the event is done, or somebody is at it.

A shortcut only: MySQL keeps the truth (inbox.py). What Redis has lost costs a look into the log.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from farmlokal.redis.client import run
from farmlokal.redis.scripts import FORGET, key, load

LEASE_SECONDS = 5  # of a claim: the death of its owner delays the event no longer
DONE_SECONDS = 4 * 24 * 3600  # the retries of Standard Webhooks end after three days and some hours
DONE = "done"  # no owner has this name

State: TypeAlias = Literal["done", "taken", "ours"]

CLAIM = load(__file__, "claim.lua")
FINISH = load(__file__, "finish.lua")
RELEASE = load(__file__, "release.lua")


def claim(webhook_id: str, owner: str) -> State:
    """Ours too where Redis is away, or takes no writes."""
    found = run(CLAIM, [_key(webhook_id)], [owner, LEASE_SECONDS * 1000, DONE])
    return found[0].decode() if found else "ours"


def finish(webhook_id: str) -> None:
    """Once the event's transaction is committed."""
    run(FINISH, [_key(webhook_id)], [DONE, DONE_SECONDS * 1000])


def forget(webhook_id: str) -> None:
    run(FORGET, [_key(webhook_id)])


def release(webhook_id: str, owner: str) -> None:
    run(RELEASE, [_key(webhook_id)], [owner])


def _key(webhook_id: str) -> str:
    return key("webhook", webhook_id)
