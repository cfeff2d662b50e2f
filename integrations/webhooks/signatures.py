"""Verifies that the partner signed a delivery: Standard Webhooks (https://www.standardwebhooks.com).

The reference library fails on signatures that are not base64, and reads 1e9 as a time. So it gets only what matches the
patterns here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from django.conf import settings
from standardwebhooks import Webhook, WebhookVerificationError

from farmlokal.http.problems import InvalidHeader, Problem
from farmlokal.observability import trace_context
from integrations.models import MAX_ID_LENGTH
from integrations.webhooks.signing_secrets import decode

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
# id.timestamp.body is signed, so a dot in the id would be ambiguous. MySQL ignores spaces at the end.
WEBHOOK_ID = rf"[!-\-/-~]{{1,{MAX_ID_LENGTH}}}"
WHOLE_SECONDS = r"[1-9][0-9]{0,10}"
WINDOW_SECONDS = 300  # as in the reference library
HMAC_SHA256 = r"v1,[A-Za-z0-9+/]{43}="
LOGGED_HEADERS = (ID, TIMESTAMP, "content-type", "user-agent", "x-request-id")  # none of them is secret
MAX_HEADER_LENGTH = 500
SCHEME = "StandardWebhooks"


class Delivery(NamedTuple):
    """A delivery with a valid signature."""

    webhook_id: str
    body: str
    headers: dict[str, str]  # for the log


def verified(headers: Mapping[str, str], body: str) -> Delivery:
    """Raises signature-invalid, or bad-request for a malformed id."""
    webhook_id, timestamp = _required(headers, ID), _required(headers, TIMESTAMP)
    signatures = _required(headers, SIGNATURE).split(" ")
    if not re.fullmatch(WEBHOOK_ID, webhook_id):
        raise InvalidHeader(ID, f"must be 1 to {MAX_ID_LENGTH} printable ASCII characters without a dot or a space.")
    if not re.fullmatch(WHOLE_SECONDS, timestamp):
        raise refused(f"{TIMESTAMP} must be whole seconds since 1970.")
    offset = int(timestamp) - time.time()
    if abs(offset) > WINDOW_SECONDS:
        where = "ahead of" if offset > 0 else "behind"
        raise refused(f"{TIMESTAMP} is {abs(offset):.0f} s {where} our clock, more than {WINDOW_SECONDS} s.")
    usable = " ".join(signature for signature in signatures if re.fullmatch(HMAC_SHA256, signature))
    if not usable:
        raise refused(f"{SIGNATURE} has no signature of version v1.")
    _verify(body, {ID: webhook_id, TIMESTAMP: timestamp, SIGNATURE: usable})
    logged = {name: headers[name][:MAX_HEADER_LENGTH] for name in LOGGED_HEADERS if name in headers}
    return Delivery(webhook_id, body, logged | trace_context.child_headers())  # staff find its log lines by the trace


def refused(detail: str) -> Problem:
    challenge = {"WWW-Authenticate": SCHEME}
    return Problem("signature-invalid", f"The signature is not accepted: {detail}", headers=challenge)


def _required(headers: Mapping[str, str], name: str) -> str:
    if not (value := headers.get(name, "")):
        raise refused(f"{name} is missing.")
    return value


def _verify(body: str, headers: dict[str, str]) -> None:
    """One of our secrets must fit. Raises signature-invalid with the objection to the first."""
    objections = []
    for verifier in _verifiers(*settings.PARTNER_WEBHOOK_SECRETS):
        try:
            verifier.verify(body, headers, json_parse=False)
        except WebhookVerificationError as error:
            objections.append(str(error))
        else:
            return
    raise refused(f"{objections[0]}." if objections else "No secret is configured here.")


@lru_cache(maxsize=8)
def _verifiers(*secrets: str) -> list[Webhook]:
    return [Webhook(decode(secret)) for secret in secrets]
