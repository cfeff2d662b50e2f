"""A page of the admin's log of webhooks: the form of its filters, its rows, and the links around them."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import QueryDict

from farmlokal.admin.keyset import KeysetList, Link
from farmlokal.counts import Total
from farmlokal.http.problems import Problem
from farmlokal.http.query_parameters import check_parameters
from integrations.models import MAX_ID_LENGTH, MAX_TYPE_LENGTH, PARTNER, WebhookEvent
from integrations.webhooks import log
from integrations.webhooks.log_filters import Filters
from products.listing.cursors import Cursor, CursorError, seal
from products.listing.keyset_pages import KeysetPage
from products.models import MAX_ID

ROWS = 100
FIRST_YEAR, LAST_YEAR = 2000, 2999  # no overflow when a time zone is applied
ESTIMATED = "The database estimates this number, because counting all of them would take too long."
VIEWS = {"All": "", **{str(status.label): status.value for status in WebhookEvent.Status}}


def _check_year(day: dt.date) -> None:
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise forms.ValidationError(f"must be a day of the years {FIRST_YEAR} to {LAST_YEAR}.")


def _day(label: str) -> forms.DateField:
    widget = forms.DateInput({"type": "date"}, format="%Y-%m-%d")
    return forms.DateField(label=label, required=False, validators=[_check_year], widget=widget)


class LogForm(forms.Form):
    q = forms.CharField(
        label="Search webhooks",
        required=False,
        max_length=MAX_ID_LENGTH,
        widget=forms.TextInput({"type": "search"}),
        help_text="The beginning of an id, or the id of a product.",
    )
    status = forms.ChoiceField(required=False, choices=[("", "Any"), *WebhookEvent.Status.choices])
    type = forms.CharField(required=False, max_length=MAX_TYPE_LENGTH)
    product = forms.IntegerField(label="Id of the product", required=False, min_value=0, max_value=MAX_ID)
    received_from = _day("Received from")
    received_until = _day("Received until")

    def __init__(self, query: QueryDict) -> None:
        super().__init__(query, auto_id="filter_%s")

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        first, last = values.get("received_from"), values.get("received_until")
        if first and last and first > last:
            raise forms.ValidationError({"received_from": "must not be after the last day."})
        return values

    def filters(self) -> Filters:
        """Of a valid form."""
        values = self.cleaned_data
        text, product = values["q"], values["product"]
        if product is None and re.fullmatch("[0-9]{1,18}", text) and not _has_id(text):
            text, product = "", int(text)
        days = values["received_from"], values["received_until"]
        return Filters(text, values["status"], values["type"], product, *days)


def read_list(query: QueryDict) -> KeysetList:
    """Bad parameters become errors of the form."""
    form = LogForm(query)
    try:
        check_parameters(query, [*form.fields, "cursor"])
    except Problem as problem:
        form.add_error(None, str(problem.detail))
    if not form.is_valid():
        return KeysetList(form, views=_views(Filters()))
    filters = form.filters()
    try:
        page = log.read(filters, query.get("cursor", ""), ROWS)
    except CursorError:
        form.add_error(None, "cursor: is not a position in this list. Begin with the first page.")
        return KeysetList(form, views=_views(filters))
    pairs = [(name, str(query[name])) for name in form.fields if query.get(name)]
    count = _count(filters, page, is_first="cursor" not in query)
    return KeysetList(
        form,
        _events([row["id"] for row in page.rows]),
        next=_query(pairs, filters, page.next),
        previous=_query(pairs, filters, page.previous),
        first=urlencode(pairs) if "cursor" in query else None,
        is_cut=page.is_cut,
        total=str(count or ""),
        total_help=ESTIMATED if count and not count.is_exact else "",
        views=_views(filters),
        chips=[_chip(form, pairs, name) for name, _ in pairs],
    )


def _has_id(text: str) -> bool:
    return WebhookEvent.objects.filter(source=PARTNER, webhook_id__startswith=text).exists()


def _events(pks: list[int]) -> list[WebhookEvent]:
    found = WebhookEvent.objects.defer("payload", "headers").in_bulk(pks)
    return [found[pk] for pk in pks if pk in found]  # one may have been pruned since


def _query(pairs: list[tuple[str, str]], filters: Filters, cursor: Cursor | None) -> str | None:
    return urlencode([*pairs, ("cursor", seal(cursor, filters.bound_to()))]) if cursor else None


def _count(filters: Filters, page: KeysetPage, *, is_first: bool) -> Total | None:
    """A whole list on one page is counted already."""
    if is_first and not page.next:
        return Total(len(page.rows), is_exact=True)
    return log.count(filters)


def _views(filters: Filters) -> list[Link]:
    return [
        Link(text, urlencode({"status": status}) if status else "", filters == Filters(status=status))
        for text, status in VIEWS.items()
    ]


def _chip(form: LogForm, pairs: list[tuple[str, str]], name: str) -> Link:
    label = "Search" if name == "q" else form[name].label
    others = [pair for pair in pairs if pair[0] != name]
    return Link(f"{label}: {dict(pairs)[name]}", urlencode(others))
