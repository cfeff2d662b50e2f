"""The names of categories, commodities, states and districts, held in memory.

Some 1,400 rows that change a few times a year: a page joins none of them. The version that it
reads with its rows says whether this process holds names at least as new as those rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from products.models import Category, Commodity, District, State, VocabularyVersion

if TYPE_CHECKING:
    from products.models import VocabularyEntry

Names: TypeAlias = Mapping[int, dict[str, str]]


@dataclass(frozen=True)
class Vocabulary:
    """Each list by id: {"slug": …, "name": …}, ready for a document and not to be changed."""

    categories: Names
    commodities: Names
    states: Names
    districts: Names
    ids: Mapping[str, Mapping[str, int]]  # by the filter's name and the slug

    def slugs(self, field: str) -> list[str]:
        return sorted(self.ids[field])


_latest: list[int] = []  # the version that this process met last


@lru_cache(maxsize=2)
def at_version(version: int) -> Vocabulary:
    """The names as of this version, or newer ones; four statements the first time a process meets it."""
    names = {
        "category": _names(Category),
        "commodity": _names(Commodity),
        "state": _names(State),
        "district": _names(District),
    }
    ids = {field: {entry["slug"]: pk for pk, entry in entries.items()} for field, entries in names.items()}
    _latest[:] = [version]
    return Vocabulary(names["category"], names["commodity"], names["state"], names["district"], ids)


def current() -> Vocabulary:
    """The names as they are now: one statement asks for the version."""
    return at_version(VocabularyVersion.objects.values_list("version", flat=True).get(pk=1))


def held() -> Vocabulary:
    """The names that this process has at hand, without a statement: they may lack what was added since."""
    return at_version(_latest[0]) if _latest else current()


def find(field: str, slug: str) -> int | None:
    """The id behind a slug. A slug keeps its id for ever, so that only an unknown one is looked for anew."""
    return held().ids[field].get(slug) or current().ids[field].get(slug)


def _names(model: type[VocabularyEntry]) -> Names:
    return {
        pk: {"slug": slug, "name": name} for pk, slug, name in model._default_manager.values_list("pk", "slug", "name")
    }
