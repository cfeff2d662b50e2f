"""What staff may do to a circuit breaker, and the record of who did it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType

from farmlokal.operations.models import Operations
from integrations.breaker.breaker import Breaker

logger = structlog.get_logger(__name__)


class Action(NamedTuple):
    label: str
    effect: str  # for the page that asks for confirmation
    done: str
    run: Callable[[Breaker], None]


ACTIONS: Mapping[str, Action] = {
    "open": Action(
        "Force open",
        "No call goes out until somebody closes the breaker. Callers get the last good answer, or an error.",
        "The breaker stays open until somebody closes it.",
        Breaker.hold_open,
    ),
    "close": Action(
        "Force close",
        "Calls go out again, also to a service that still fails. The breaker opens again if too many calls fail.",
        "The breaker is closed.",
        Breaker.close,
    ),
    "reset": Action(
        "Reset",
        "The breaker closes, and forgets how often it has opened and how many retries there were.",
        "The breaker is closed and has forgotten its past.",
        Breaker.reset,
    ),
}


def force(breaker: Breaker, name: str, user: Any) -> str:
    """Returns the new state in words. Raises NotSharedError without Redis; then nothing has changed."""
    action = ACTIONS[name]
    action.run(breaker)
    logger.warning("breaker_forced", name=breaker.name, action=name, by=user.get_username())
    LogEntry.objects.create(
        user_id=user.pk,
        content_type=ContentType.objects.get_for_model(Operations),
        object_id=breaker.name,
        object_repr=f"breaker of {breaker.name}",
        action_flag=CHANGE,
        change_message=f"{action.label}.",
    )
    return action.done
