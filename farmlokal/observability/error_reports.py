"""Sends errors with a traceback to Sentry, if SENTRY_DSN is set. Its package is imported only then.

A report has the traceback, its source lines and the ids of the request. It has no local variables, headers, bodies or
addresses. Another thread sends it, so Sentry never delays a request.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from sentry_sdk.types import Event, Hint

SHUTDOWN_SECONDS = 2  # for the last reports, at the end of the process
TAGS = ("request_id", "trace_id", "webhook_id", "logger")
PASSWORD_IN_URL = re.compile(r"(?<=://)[^\s/'\"]*:[^\s'\"]*(?=@)")
CREDENTIALS = re.compile(r"(?<=bearer )\S+|(?<=basic )\S+|eyJ[\w-]+\.[\w-]+\.[\w-]*", re.IGNORECASE)
HIDDEN = "…"


def start() -> None:
    """Call it once in each process that serves or works."""
    if not settings.SENTRY_DSN:
        return
    import sentry_sdk  # noqa: PLC0415  # an optional extra
    from sentry_sdk.integrations.atexit import AtexitIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.dedupe import DedupeIntegration  # noqa: PLC0415
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration  # noqa: PLC0415

    sentry_sdk.init(
        settings.SENTRY_DSN,
        release=f"farmlokal@{settings.VERSION}{'+' if settings.COMMIT else ''}{settings.COMMIT}",
        # The other integrations collect requests, queries, arguments and breadcrumbs.
        default_integrations=False,
        integrations=[AtexitIntegration(lambda *_: None), DedupeIntegration(), ExcepthookIntegration()],
        auto_session_tracking=False,
        include_local_variables=False,
        max_breadcrumbs=0,
        max_request_body_size="never",
        send_default_pii=False,
        shutdown_timeout=SHUTDOWN_SECONDS,
        before_send=_without_secrets,
    )


def report(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of structlog."""
    import sentry_sdk  # noqa: PLC0415  # an optional extra

    error = _error_of(event)
    if error and logging.getLevelNamesMapping()[event["level"].upper()] >= logging.ERROR:
        with sentry_sdk.new_scope() as scope:
            scope.set_tag("event", _hidden(str(event["event"]))[:200])  # asyncio puts the error into its text
            for name in TAGS:
                if name in event:
                    scope.set_tag(name, event[name])
            scope.capture_exception(error)
    return event


def _error_of(event: MutableMapping[str, Any]) -> BaseException | None:
    info = event.get("exc_info")
    error = info[1] if isinstance(info, tuple) else sys.exception() if info is True else info
    return error if isinstance(error, BaseException) else None


def _without_secrets(event: Event, hint: Hint) -> Event:
    for error in event.get("exception", {}).get("values", []):
        error["value"] = _hidden(str(error.get("value", "")))
    return event


def _hidden(text: str) -> str:
    return CREDENTIALS.sub(HIDDEN, PASSWORD_IN_URL.sub(HIDDEN, text))
