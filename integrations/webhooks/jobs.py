"""The job that replays many events of the log. Each is replayed once, even if the process is killed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import QueryDict

from farmlokal.counts import Total
from farmlokal.http.problems import Problem
from farmlokal.jobs.actions import Action, Failure, Outcome, Taken, reason_of, take_ids
from farmlokal.jobs.models import Job
from integrations.models import MAX_ID_LENGTH, MAX_TYPE_LENGTH, WebhookEvent
from integrations.webhooks import claims, inbox, log
from integrations.webhooks.log_filters import BY_ID, Filters
from products.listing.listings import Position, Sort

OLDEST_FIRST = Sort("received_at", is_descending=False)
LATE = dt.timedelta(minutes=1)  # an event that arrived so long after the start has a later id, too


class FilterForm(forms.Form):
    """The fields of Filters."""

    id_prefix = forms.CharField(max_length=MAX_ID_LENGTH, required=False)
    status = forms.ChoiceField(choices=WebhookEvent.Status.choices, required=False)
    type = forms.CharField(max_length=MAX_TYPE_LENGTH, required=False)
    product = forms.IntegerField(min_value=0, max_value=10**18 - 1, required=False)
    first_day = forms.DateField(required=False)
    last_day = forms.DateField(required=False)


def query_of(filters: Filters) -> str:
    """The filter of a job that replays the events of these filters."""
    return urlencode({name: value for name, value in filters._asdict().items() if value not in {None, ""}})


def query_of_ids(ids: Iterable[int]) -> str:
    return urlencode({"ids": ",".join(map(str, sorted(ids)))}, safe=",")


class Replay(Action):
    """One event a step: the failure of its handler is stored in a second transaction."""

    name = "webhook.replay"
    title = "Replay webhooks"
    permission = "integrations.replay_webhookevent"
    max_items = 1

    def count(self, job: Job) -> Total | None:
        """Called at the start: it also notes the last event, because those that arrive later are not meant."""
        job.parameters["last"] = WebhookEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        if (ids := _ids(job)) is not None:
            return Total(len(ids), is_exact=True)
        return log.count(_filters(job))

    def take(self, job: Job, count: int) -> Taken:
        if (ids := _ids(job)) is not None:
            return take_ids(ids, job.cursor, count)
        filters = _filters(job)
        sort = BY_ID if filters.id_prefix else OLDEST_FIRST
        found = log.find(filters, sort, _position(job.cursor, sort), count)
        rows = [row for row in found.rows if not _is_late(job, row)]
        end = found.stopped_at
        if end is None and rows:
            end = Position(rows[-1][sort.field], rows[-1]["id"])
        is_last = len(rows) < count and found.stopped_at is None
        pks = [row["id"] for row in rows if row["id"] <= job.parameters["last"]]
        return Taken(pks, _cursor(end) if end else job.cursor, is_last)

    def apply(self, job: Job, items: Sequence[int]) -> Outcome:
        changed, failures = 0, []
        for pk in items:
            try:
                with transaction.atomic():
                    webhook_id, outcome = inbox.process_again(pk, job.actor)
            except Problem as problem:
                failures.append(Failure(self.key(pk), reason_of(problem)))
                continue
            transaction.on_commit(partial(claims.forget, webhook_id))
            changed += outcome == WebhookEvent.Status.PROCESSED
            if outcome in {WebhookEvent.Status.FAILED, WebhookEvent.Status.DEAD}:
                error = WebhookEvent.objects.values_list("error", flat=True).get(pk=pk)
                failures.append(Failure(self.key(pk), f"{outcome}: {error}"))
        return Outcome(changed, failures)

    def key(self, item: int) -> str:
        return f"Webhook {item}"


REPLAY = Replay()


def _ids(job: Job) -> list[int] | None:
    """None if the filter names no events, but conditions. The named ones may all have been pruned: []."""
    texts = QueryDict(job.filter).get("ids")
    return None if texts is None else [int(text) for text in texts.split(",") if text]


def _filters(job: Job) -> Filters:
    form = FilterForm(QueryDict(job.filter))
    if not form.is_valid():
        raise ValidationError({name: list(map(str, errors)) for name, errors in form.errors.items()})
    return Filters(**form.cleaned_data)


def _position(cursor: Any, sort: Sort) -> Position | None:
    if cursor is None:
        return None
    value, pk = cursor
    return Position(value if sort == BY_ID else dt.datetime.fromisoformat(value), pk)


def _cursor(end: Position) -> list[Any]:
    return [end.value.isoformat() if isinstance(end.value, dt.datetime) else end.value, end.pk]


def _is_late(job: Job, row: dict[str, Any]) -> bool:
    return bool(row["id"] > job.parameters["last"] and row.get("received_at", job.created_at) > job.created_at + LATE)
