"""The names of categories, commodities, states and districts, held in memory.

Some 1,400 rows that change a few times a year: a page joins none of them. The version that it
reads with its rows says whether this process holds names at least as new as those rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from products.models import Category, Commodity, District, State, VocabularyVersion

Names: TypeAlias = Mapping[int, dict[str, str]]


@dataclass(frozen=True)
class Vocabulary:
    """By the filter's name ("category", "commodity", "state", "district")."""

    names: Mapping[str, Names]  # by id, in the order of names: {"slug": …, "name": …}, not to be changed
    ids: Mapping[str, Mapping[str, int]]  # by slug

    parents: Mapping[str, Mapping[int, int]]  # a commodity's category, a district's state, by id

    def tree(self, field: str, child: str, children: str) -> list[dict[str, Any]]:
        """[{"slug", "name", children: [{"slug", "name"}]}], by name."""
        found: dict[int, dict[str, Any]] = {pk: {**entry, children: []} for pk, entry in self.names[field].items()}
        for pk, entry in self.names[child].items():
            found[self.parents[child][pk]][children].append(entry)
        return list(found.values())

    def slugs(self, field: str) -> list[str]:
        return sorted(self.ids[field])


_latest: list[int] = []  # the version that this process met last


@lru_cache(maxsize=2)
def at_version(version: int) -> Vocabulary:
    """The names as of this version, or newer ones; four statements the first time a process meets it."""
    rows = {
        "category": list(Category.objects.values_list("pk", "slug", "name", "pk")),
        "commodity": list(Commodity.objects.values_list("pk", "slug", "name", "category_id")),
        "state": list(State.objects.values_list("pk", "slug", "name", "pk")),
        "district": list(District.objects.values_list("pk", "slug", "name", "state_id")),
    }
    names = {field: {pk: {"slug": slug, "name": name} for pk, slug, name, _ in of} for field, of in rows.items()}
    ids = {field: {slug: pk for pk, slug, _, _ in of} for field, of in rows.items()}
    parents = {field: {pk: parent for pk, _, _, parent in of} for field, of in rows.items()}
    _latest[:] = [version]
    return Vocabulary(names, ids, parents)


def current() -> Vocabulary:
    """The names as they are now: one statement asks for the version."""
    return at_version(VocabularyVersion.objects.values_list("version", flat=True).get(pk=1))


def held() -> Vocabulary:
    """The names that this process has at hand, without a statement: they may lack what was added since."""
    return at_version(_latest[0]) if _latest else current()


def find(field: str, slug: str) -> int | None:
    """The id behind a slug. A slug keeps its id for ever, so that only an unknown one is looked for anew."""
    return held().ids[field].get(slug) or current().ids[field].get(slug)
