"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a POST with a key counts once.

The row of a key is inserted, as what its POST makes, in one transaction: it is there when the product
is, whoever dies on the way. Until then it is a lock, which others run into without waiting for it,
and which goes with its owner's connection.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, OperationalError, transaction
from django.http import HttpResponse
from django.utils import timezone

from farmlokal.http.problems import InvalidHeader, Problem
from farmlokal.mysql.errors import ROW_IS_LOCKED
from farmlokal.mysql.transactions import atomic_with_retry
from products.models import IdempotencyKey
from products.page_cache import announce_write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django.db.models import QuerySet

HEADER = "Idempotency-Key"
LIFETIME = dt.timedelta(hours=24)
PURGED_AT_ONCE = 10
RETRY_AFTER_SECONDS = 1

# No space at either end: MySQL's comparison does not see one at the end.
KEY = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')  # a String of RFC 9651


def key_in(headers: Mapping[str, str]) -> str | None:
    """The key, which is the same with and without quotes; None where the header is not there."""
    text = headers.get(HEADER)
    if text is None:
        return None
    if text.startswith('"'):
        quoted = QUOTED.fullmatch(text)
        text = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    if not KEY.fullmatch(text):
        raise InvalidHeader(HEADER, "must be 1 to 255 printable ASCII characters, or those in quotes.")
    return text


@atomic_with_retry
def answer_once(caller: str, key: str, body: Any, make: Callable[[], HttpResponse]) -> HttpResponse:
    """What make() answers, or answered to this caller's first request with the key.

    The Problem idempotency-mismatch where that one had another body, idempotency-conflict while it runs.
    """
    keys = IdempotencyKey.objects.filter(caller=caller, key=key)
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    oldest = timezone.now() - LIFETIME
    # Plainly first: those who ask again do not get into each other's way.
    row = keys.filter(created_at__gt=oldest).first() or _lock(keys)
    if row and row.created_at > oldest:
        announce_write()  # where the commit's answer was lost, it may have come after its announcement had ended
        return _again(row, fingerprint)
    if row:
        row.delete()
    try:
        row = IdempotencyKey.objects.create(caller=caller, key=key, fingerprint=fingerprint)
    except IntegrityError as error:  # another was faster by less than one statement
        raise conflict() from error
    answer = make()
    row.status, row.body = answer.status_code, answer.content
    row.location, row.etag = answer["Location"], answer["ETag"]
    row.save()
    transaction.on_commit(purge, robust=True)
    return answer


def purge() -> None:
    """Takes away a few of the keys that have outlived their time."""
    expired = IdempotencyKey.objects.filter(created_at__lte=timezone.now() - LIFETIME).order_by("created_at")
    IdempotencyKey.objects.filter(pk__in=list(expired.values_list("pk", flat=True)[:PURGED_AT_ONCE])).delete()


def _lock(keys: QuerySet[IdempotencyKey]) -> IdempotencyKey | None:
    try:
        return keys.select_for_update(nowait=True).first()
    except OperationalError as error:
        if error.args[0] in ROW_IS_LOCKED:
            raise conflict() from error
        raise


def conflict() -> Problem:
    text = f"{HEADER}: the first request with this key is still running."
    return Problem("idempotency-conflict", text, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def mismatch() -> Problem:
    return InvalidHeader(HEADER, "was used with another body; a new request needs a new key.", "idempotency-mismatch")


def _again(row: IdempotencyKey, fingerprint: str) -> HttpResponse:
    if row.fingerprint != fingerprint:
        raise mismatch()
    headers = {"Location": row.location, "ETag": row.etag, "Idempotent-Replayed": "true", "Cache-Control": "no-store"}
    return HttpResponse(row.body, status=row.status, headers=headers, content_type="application/json")
