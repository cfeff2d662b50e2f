"""Examines the providers of tokens and the partner, by one real call to each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from django.conf import settings

from accounts import keys, tokens
from accounts.shared_value import UnavailableError
from farmlokal.doctor.results import CLOCK_WARNING_SECONDS, Result, clock, now, ok
from farmlokal.outbound.client import Answer, OutboundError, call

CALL_SECONDS = 5.0


def examine() -> Iterator[Result]:
    yield _provider()
    yield _keys()
    yield from _partner()


def _ends() -> float:
    return time.monotonic() + CALL_SECONDS


def _provider() -> Result:
    if not settings.OAUTH_TOKEN_URL:
        return Result("skipped", "token provider", "OAUTH_TOKEN_URL is not set.")
    try:
        seconds = tokens.try_provider(_ends())
    except UnavailableError as error:
        return Result("error", "token provider", f"{error}.", "Check OAUTH_TOKEN_URL and the credentials.")
    return ok("token provider", f"It gives a token, which we use for {seconds:.0f} s.")


def _keys() -> Result:
    if not settings.OAUTH_JWKS_URL:
        return Result("skipped", "token keys", "OAUTH_JWKS_URL is not set.")
    try:
        number = keys.try_provider(_ends())
    except UnavailableError as error:
        return Result("error", "token keys", f"{error}.", "Check OAUTH_JWKS_URL: without keys, our clients get 503.")
    if not number:
        return Result("error", "token keys", "None is for RS256 or ES256.", "Ask the provider for such a key.")
    return ok("token keys", f"{number} for RS256 or ES256.")


def _partner() -> Iterator[Result]:
    if not settings.PARTNER_API_URL:
        yield Result("skipped", "partner", "PARTNER_API_URL is not set.")
        return
    try:
        answer = call("GET", settings.PARTNER_API_URL, ends=_ends())
    except OutboundError as error:
        yield Result("error", "partner", f"{error}.", "Check PARTNER_API_URL, DNS, and the rules for outgoing calls.")
        return
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
    ahead = theirs - now()
    yield clock("partner clock", 0.0 if abs(ahead) < CLOCK_WARNING_SECONDS else ahead)
