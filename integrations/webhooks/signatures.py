"""Whether a delivery is the partner's: Standard Webhooks (https://www.standardwebhooks.com), by its reference library.

The library is asked only about what it takes: it fails on signatures that are not base64, on bodies that are not
UTF-8, and reads 1e9 as a time.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings
from standardwebhooks import Webhook, WebhookVerificationError

from farmlokal.http.json_bodies import text_of
from farmlokal.http.problems import InvalidHeader, Problem
from integrations.models import MAX_ID_LENGTH
from integrations.webhooks.signing_secrets import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
NEEDED = (ID, TIMESTAMP, SIGNATURE)
MAX_BODY_BYTES = 256 * 1024
# A dot would shift what is signed, id.timestamp.body, between its parts; and MySQL does not see a space at the end.
WEBHOOK_ID = rf"[!-\-/-~]{{1,{MAX_ID_LENGTH}}}"
WHOLE_SECONDS = r"[1-9][0-9]{0,10}"
HMAC_SHA256 = r"v1,[A-Za-z0-9+/]{43}="
KEPT_HEADERS = (ID, TIMESTAMP, "content-type", "user-agent", "x-request-id")  # nothing that could be a secret
MAX_HEADER_LENGTH = 500
SCHEME = "StandardWebhooks"


class Delivery(NamedTuple):
    """One whose signature is right."""

    webhook_id: str
    body: bytes
    headers: dict[str, str]  # those that the log keeps


def verified(headers: Mapping[str, str], body: bytes) -> Delivery:
    """Raises the Problem signature-invalid. A malformed id, or a body that is not UTF-8, is a 400, signed or not."""
    given = {name: headers.get(name, "") for name in NEEDED}
    if missing := [name for name, value in given.items() if not value]:
        raise refused(f"{missing[0]} is missing.")
    if not re.fullmatch(WEBHOOK_ID, given[ID]):
        raise InvalidHeader(
            ID, f"must be 1 to {MAX_ID_LENGTH} printable ASCII characters, none of them a dot or a space."
        )
    if not re.fullmatch(WHOLE_SECONDS, given[TIMESTAMP]):
        raise refused(f"{TIMESTAMP} must be whole seconds since 1970.")
    text = text_of(body)
    given[SIGNATURE] = " ".join(part for part in given[SIGNATURE].split(" ") if re.fullmatch(HMAC_SHA256, part))
    if not given[SIGNATURE]:
        raise refused(f"{SIGNATURE} has none of the kind v1.")
    objections = [_objection(verifier, text, given) for verifier in _verifiers(*settings.PARTNER_WEBHOOK_SECRETS)]
    if all(objections):
        raise refused(f"{objections[0]}." if objections else "No secret is set up here.")
    kept = {name: headers[name][:MAX_HEADER_LENGTH] for name in KEPT_HEADERS if name in headers}
    return Delivery(given[ID], body, kept)


def refused(detail: str) -> Problem:
    challenge = {"WWW-Authenticate": SCHEME}
    return Problem("signature-invalid", f"The signature is not accepted: {detail}", headers=challenge)


@lru_cache(maxsize=8)
def _verifiers(*secrets: str) -> list[Webhook]:
    return [Webhook(decode(secret)) for secret in secrets]


def _objection(verifier: Webhook, body: str, headers: dict[str, str]) -> str:
    try:
        verifier.verify(body, headers, json_parse=False)
    except WebhookVerificationError as error:
        return str(error)
    return ""
