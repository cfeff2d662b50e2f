"""Filters copies of an event before they reach MySQL. In Redis an event is done, or claimed by one process.

MySQL is the source of truth (inbox.py): if Redis has lost a claim, the log decides.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from farmlokal.redis.client import run
from farmlokal.redis.scripts import DELETE_KEY, load, spread_key

LEASE_SECONDS = 5  # if a process dies, its event waits no longer than this
DONE_SECONDS = 4 * 24 * 3600  # longer than senders retry under Standard Webhooks: three days and some hours
DONE = "done"  # no owner has this name

State: TypeAlias = Literal["done", "taken", "ours"]

CLAIM = load(__file__, "claim.lua")
FINISH = load(__file__, "finish.lua")
RELEASE = load(__file__, "release.lua")


def claim(webhook_id: str, owner: str) -> State:
    """Returns "ours" too if Redis is away, or accepts no writes."""
    answer = run(CLAIM, [_key(webhook_id)], [owner, LEASE_SECONDS * 1000, DONE])
    return answer[0].decode() if answer else "ours"


def finish(webhook_id: str) -> None:
    """Call it after the event's transaction is committed."""
    run(FINISH, [_key(webhook_id)], [DONE, DONE_SECONDS * 1000])


def release(webhook_id: str, owner: str) -> None:
    run(RELEASE, [_key(webhook_id)], [owner])


def forget(webhook_id: str) -> None:
    run(DELETE_KEY, [_key(webhook_id)])


def _key(webhook_id: str) -> str:
    return spread_key("webhook", webhook_id)
