"""The admin's overview: a card for each section that the user may open. Each model admin names its own facts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.apps import apps
from django.contrib.admin import AdminSite
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from farmlokal.admin.navigation import Section

if TYPE_CHECKING:
    from farmlokal.admin.model_admin import StaffAdmin

MAX_COUNTED = 10  # rows that one fact may read
SHOWN_CHANGES = 8


class Fact(NamedTuple):
    """tone: how a badge shows it: "good", "warn", "bad" or "quiet". A plain link has none."""

    text: str
    url: str
    tone: str = ""


class Change(NamedTuple):
    """A recent change of a row, whoever made it."""

    name: str
    url: str
    text: str  # what was done, and by whom
    at: dt.datetime


class Card(NamedTuple):
    section: Section
    add: tuple[str, str] | None  # text and URL
    facts: Sequence[Fact]


def bounded_count(rows: QuerySet[Any]) -> str:
    """ "7", or "10+": reads at most MAX_COUNTED rows, so the query needs an index for its condition."""
    count = rows[:MAX_COUNTED].count()
    return f"{count}+" if count == MAX_COUNTED else str(count)


def cards(site: AdminSite, request: HttpRequest, sections: Iterable[Section]) -> list[Card]:
    return [_card(request, section, list(_admins(site, section))) for section in sections]


def _card(request: HttpRequest, section: Section, admins: Sequence[StaffAdmin]) -> Card:
    add = next((_add_link(options) for options in admins[:1] if options.has_add_permission(request)), None)
    return Card(section, add, [fact for options in admins for fact in options.index_facts(request)])


def _add_link(options: StaffAdmin) -> tuple[str, str]:
    opts = options.opts
    return f"Add {opts.verbose_name}", reverse(f"admin:{opts.app_label}_{opts.model_name}_add")


def _admins(site: AdminSite, section: Section) -> Iterator[StaffAdmin]:
    for link in section.links:
        if link.page.model:
            yield site.get_model_admin(apps.get_model(link.page.model))  # type: ignore[misc]  # all are StaffAdmin
