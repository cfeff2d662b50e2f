"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a POST with a key takes effect once.

The key and the product are inserted in one transaction: after a crash, both exist or neither. Until the commit, the
key's row is a lock. Other requests with the key fail at once instead of waiting, and the lock ends with its connection.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone

from farmlokal.http.problems import InvalidHeader, Problem
from farmlokal.mysql.errors import ROW_IS_LOCKED
from farmlokal.mysql.transactions import atomic_once
from products.catalogue_cache import announce_write
from products.models import IdempotencyKey

HEADER = "Idempotency-Key"
LIFETIME = dt.timedelta(hours=24)
PURGE_ROWS = 10
RETRY_AFTER_SECONDS = 1

# No space at either end: MySQL's comparison does not see one at the end.
KEY = re.compile(r"[!-~]([ -~]{0,253}[!-~])?")
QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')  # a String of RFC 9651


def key_in(headers: Mapping[str, str]) -> str | None:
    """The key, without the quotes that it may have. None without the header."""
    text = headers.get(HEADER)
    if text is None:
        return None
    if text.startswith('"'):
        quoted = QUOTED.fullmatch(text)
        text = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    if not KEY.fullmatch(text):
        raise InvalidHeader(HEADER, "must be 1 to 255 printable ASCII characters, or those in quotes.")
    return text


@atomic_once
def answer_once(caller: str, key: str, body: Any, create: Callable[[], HttpResponse]) -> HttpResponse:
    """The response of create(), or the stored response to this caller's first request with the key.

    Raises the Problem idempotency-mismatch if that request had another body, idempotency-conflict if it still runs.
    """
    keys = IdempotencyKey.objects.filter(caller=caller, key=key)
    fingerprint = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    oldest = timezone.now() - LIFETIME
    # First without a lock, so that repeated requests do not conflict with each other.
    row = keys.filter(created_at__gt=oldest).first() or _lock(keys)
    if row and row.created_at > oldest:
        announce_write()  # the first request may have lost its connection and committed after its announcement expired
        return _replay(row, fingerprint)
    if row:
        row.delete()
    try:
        row = IdempotencyKey.objects.create(caller=caller, key=key, fingerprint=fingerprint)
    except IntegrityError as error:  # another request inserted it since the check
        raise conflict() from error
    response = create()
    row.status, row.body = response.status_code, response.content
    row.location, row.etag = response["Location"], response["ETag"]
    row.save()
    transaction.on_commit(purge, robust=True)
    return response


def purge() -> None:
    """Delete a few expired keys."""
    expired = IdempotencyKey.objects.filter(created_at__lte=timezone.now() - LIFETIME).order_by("created_at")
    if pks := list(expired.values_list("pk", flat=True)[:PURGE_ROWS]):  # delete() begins a transaction even for none
        IdempotencyKey.objects.filter(pk__in=pks).delete()


def _lock(keys: QuerySet[IdempotencyKey]) -> IdempotencyKey | None:
    try:
        return keys.select_for_update(nowait=True).first()
    except OperationalError as error:
        if error.args[0] in ROW_IS_LOCKED:
            raise conflict() from error
        raise


def conflict() -> Problem:
    text = f"{HEADER}: the first request with this key is still running."
    return Problem("idempotency-conflict", text, retry_after=RETRY_AFTER_SECONDS)


def mismatch() -> Problem:
    return InvalidHeader(HEADER, "was used with another body; a new request needs a new key.", "idempotency-mismatch")


def _replay(row: IdempotencyKey, fingerprint: str) -> HttpResponse:
    if row.fingerprint != fingerprint:
        raise mismatch()
    headers = {"Location": row.location, "ETag": row.etag, "Idempotent-Replayed": "true", "Cache-Control": "no-store"}
    return HttpResponse(row.body, status=row.status, headers=headers, content_type="application/json")
