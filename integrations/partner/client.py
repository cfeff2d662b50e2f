"""The partner's API: cost and time of delivering a product to a place.

GET {PARTNER_API_URL}/v1/quotes?product_id=…&pincode=…, with a bearer token; JSON {available, fee, currency, eta_hours}.
"""

from __future__ import annotations

import contextlib
import json
import re
from decimal import Decimal, InvalidOperation
from http import HTTPMethod
from typing import Any, TypedDict
from urllib.parse import urlencode

import structlog
from django.conf import settings

from accounts import tokens
from farmlokal.http.problems import Problem
from farmlokal.outbound.client import Answer
from integrations.client import Client
from integrations.exceptions import CallError, FailedError, RejectedError, TimedOutError

MAX_ANSWER_BYTES = 64 * 1024
MAX_RETRY_AFTER_SECONDS = 300
# Time for our own answer after the call: a share of the deadline, but at most so many seconds.
ANSWER_SHARE, MAX_ANSWER_SECONDS = 0.1, 0.05
MAX_FEE = Decimal(10) ** 8
CURRENCY = re.compile(r"[A-Z]{3}")
UNAVAILABLE = "The partner gives no quote now."  # the log has the reason
TOO_SLOW = "The partner did not answer in time."
REJECTED = "The partner does not quote for this product and place."

logger = structlog.get_logger(__name__)


class Quote(TypedDict):
    available: bool
    fee: str | None  # with two decimals; None if it is not available, like the others
    currency: str | None
    eta_hours: float | None


client = Client("partner", tokens.get_access_token, tokens.reject, lambda: settings.PARTNER_DEADLINE_SECONDS)
BREAKERS = [client.breaker]


def partner_deadline(arrived_at: float) -> float:
    """The deadline for the partner (time.monotonic), so that our own answer is in time."""
    seconds = settings.PARTNER_DEADLINE_SECONDS
    return arrived_at + seconds - min(ANSWER_SHARE * seconds, MAX_ANSWER_SECONDS)


def fetch_quote(product_id: int, pincode: str, ends: float) -> Quote:
    """Calls the partner. ends: the deadline (time.monotonic).

    Raises the Problem partner-unavailable, partner-timeout or partner-rejected.
    """
    if not settings.PARTNER_API_URL:
        logger.error("no_partner")
        raise Problem("partner-unavailable", UNAVAILABLE)
    query = urlencode({"product_id": product_id, "pincode": pincode})
    url = f"{settings.PARTNER_API_URL.rstrip('/')}/v1/quotes?{query}"
    try:
        return client.request(HTTPMethod.GET, url, read_quote, ends=ends, max_bytes=MAX_ANSWER_BYTES)
    except TimedOutError as error:
        raise Problem("partner-timeout", TOO_SLOW) from error
    except RejectedError as error:
        raise Problem("partner-rejected", REJECTED) from error
    except CallError as error:
        raise unavailable(error.retry_after) from error


def unavailable(retry_after: float) -> Problem:
    return Problem("partner-unavailable", UNAVAILABLE, retry_after=min(retry_after, MAX_RETRY_AFTER_SECONDS))


def read_quote(answer: Answer) -> Quote:
    """Raises FailedError if the answer is no quote."""
    try:
        document = json.loads(answer.body, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise FailedError("its answer is not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("available"), bool):
        raise FailedError("its answer has no valid member available", may_pass=False)
    if not document["available"]:
        return Quote(available=False, fee=None, currency=None, eta_hours=None)
    currency = document.get("currency")
    if not (isinstance(currency, str) and CURRENCY.fullmatch(currency)):
        raise FailedError("its answer has no valid currency", may_pass=False)
    fee, hours = _fee(document.get("fee")), _hours(document.get("eta_hours"))
    return Quote(available=True, fee=fee, currency=currency, eta_hours=hours)


def _fee(fee: Any) -> str:
    """With two decimals. The partner may send text or a number."""
    is_text_or_number = isinstance(fee, str | int | Decimal) and not isinstance(fee, bool)
    with contextlib.suppress(InvalidOperation):
        amount = Decimal(fee if is_text_or_number else "invalid")
        if 0 <= amount < MAX_FEE and amount == round(amount, 2):
            return f"{amount:.2f}"
    raise FailedError("its answer has no valid fee", may_pass=False)


def _hours(hours: Any) -> float:
    is_number = isinstance(hours, int | Decimal) and not isinstance(hours, bool)
    if not (is_number and 0 <= hours < MAX_FEE):
        raise FailedError("its answer has no valid eta_hours", may_pass=False)
    return int(hours) if hours == int(hours) else float(hours)
