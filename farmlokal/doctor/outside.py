"""Examines the providers of tokens and the partner, by one real call to each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import NamedTuple

from django.conf import settings

from accounts import keys, tokens
from accounts.shared_value import UnavailableError
from farmlokal.doctor.results import CLOCK_WARNING_SECONDS, Result, clock, ok
from farmlokal.outbound.client import Answer, OutboundError, call

CALL_SECONDS = 5.0


class Part(NamedTuple):
    """examine: called with a deadline (time.monotonic). advice: for a call that fails."""

    name: str
    setting: str
    examine: Callable[[float], Iterator[Result]]
    advice: str


def examine() -> Iterator[Result]:
    for part in PARTS:
        if not getattr(settings, part.setting):
            yield Result("skipped", part.name, f"{part.setting} is not set.")
            continue
        try:
            yield from part.examine(time.monotonic() + CALL_SECONDS)
        except (UnavailableError, OutboundError) as error:
            yield Result("error", part.name, f"{error}.", part.advice)


def _provider(ends: float) -> Iterator[Result]:
    seconds = tokens.try_provider(ends)
    yield ok("token provider", f"It gives a token, which we use for {seconds:.0f} s.")


def _keys(ends: float) -> Iterator[Result]:
    if number := keys.try_provider(ends):
        yield ok("token keys", f"{number} for RS256 or ES256.")
    else:
        yield Result("error", "token keys", "None is for RS256 or ES256.", "Ask the provider for such a key.")


def _partner(ends: float) -> Iterator[Result]:
    answer = call("GET", settings.PARTNER_API_URL, ends=ends)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        yield Result("warning", "partner", f"It answers {answer.status}.", "Ask the partner.")
    else:
        yield ok("partner", f"It answers (status {answer.status} without a token).")
    yield from _clock(answer)


def _clock(answer: Answer) -> Iterator[Result]:
    """By its Date header, which has whole seconds: a second of difference means nothing."""
    try:
        theirs = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return
    ahead_seconds = theirs - time.time()
    yield clock("partner clock", 0.0 if abs(ahead_seconds) < CLOCK_WARNING_SECONDS else ahead_seconds)


PARTS = (
    Part("token provider", "OAUTH_TOKEN_URL", _provider, "Check OAUTH_TOKEN_URL and the credentials."),
    Part("token keys", "OAUTH_JWKS_URL", _keys, "Check OAUTH_JWKS_URL: without keys, our clients get 503."),
    Part("partner", "PARTNER_API_URL", _partner, "Check PARTNER_API_URL, DNS, and the rules for outgoing calls."),
)
