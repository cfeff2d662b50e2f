"""The partner's API: what it costs, and how long it takes, to deliver a product to a place.

GET {PARTNER_API_URL}/v1/quotes?product_id=…&pincode=…, with a bearer token; JSON {available, fee, currency, eta_hours}.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from decimal import Decimal, InvalidOperation
from http import HTTPMethod
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import urlencode

import structlog
from django.conf import settings

from accounts import tokens
from farmlokal.http.problems import Problem
from integrations.client import Client
from integrations.exceptions import CallError, FailedError, RejectedError, TimedOutError

if TYPE_CHECKING:
    from farmlokal.outbound.client import Answer

MAX_ANSWER_BYTES = 64 * 1024
MAX_RETRY_AFTER_SECONDS = 300
ANSWER_SHARE, ANSWER_SECONDS = 0.1, 0.05  # of the deadline, for what comes after the call: at most
MAX_FEE = Decimal(10) ** 8
CURRENCY = re.compile(r"[A-Z]{3}")
UNAVAILABLE = "The partner gives no quote now."  # why is in the log
TOO_SLOW = "The partner did not answer in time."
REJECTED = "The partner does not quote for this product and place."

logger = structlog.get_logger(__name__)


class Quote(TypedDict):
    available: bool
    fee: str | None  # with two decimals; where it is available
    currency: str | None
    eta_hours: float | None


client = Client("partner", tokens.get_access_token, tokens.reject, lambda: settings.PARTNER_DEADLINE_SECONDS)
BREAKERS = [client.breaker]


def end_of(arrived_at: float) -> float:
    """When a request is to be through with the partner (time.monotonic), so that its answer is out by the deadline."""
    seconds = settings.PARTNER_DEADLINE_SECONDS
    return arrived_at + seconds - min(ANSWER_SHARE * seconds, ANSWER_SECONDS)


def fetch_quote(product_id: int, pincode: str, ends: float) -> Quote:
    """By one guarded call. ends: the deadline (time.monotonic).

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
    seconds = min(max(math.ceil(retry_after), 1), MAX_RETRY_AFTER_SECONDS)
    return Problem("partner-unavailable", UNAVAILABLE, headers={"Retry-After": str(seconds)})


def read_quote(answer: Answer) -> Quote:
    """Raises FailedError where the answer is no quote."""
    try:
        found = json.loads(answer.body, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise FailedError("its answer is not JSON") from error
    if not isinstance(found, dict) or not isinstance(found.get("available"), bool):
        raise FailedError("its answer does not say whether it is available", may_pass=False)
    if not found["available"]:
        return Quote(available=False, fee=None, currency=None, eta_hours=None)
    currency = found.get("currency")
    if not (isinstance(currency, str) and CURRENCY.fullmatch(currency)):
        raise FailedError("its answer's currency is none", may_pass=False)
    fee, hours = _fee(found.get("fee")), _hours(found.get("eta_hours"))
    return Quote(available=True, fee=fee, currency=currency, eta_hours=hours)


def _fee(given: Any) -> str:
    """As text with two decimals, whether it came as text or as a number."""
    is_one = isinstance(given, str | int | Decimal) and not isinstance(given, bool)
    with contextlib.suppress(InvalidOperation):
        fee = Decimal(given if is_one else "none")
        if 0 <= fee < MAX_FEE and fee == round(fee, 2):
            return f"{fee:.2f}"
    raise FailedError("its answer's fee is none", may_pass=False)


def _hours(given: Any) -> float:
    is_number = isinstance(given, int | Decimal) and not isinstance(given, bool)
    if not (is_number and 0 <= given < MAX_FEE):
        raise FailedError("its answer's eta_hours is none", may_pass=False)
    return int(given) if given == int(given) else float(given)
