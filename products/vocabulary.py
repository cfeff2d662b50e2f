"""The names of categories, commodities, states and districts, cached in memory.

They are about 1,400 rows that change a few times a year, so pages need no join with them. A page reads the version
of the names with its rows, and so knows whether this process has the right names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from products.models import Category, Commodity, District, State, VocabularyVersion

Names: TypeAlias = Mapping[int, dict[str, str]]


@dataclass(frozen=True, eq=False)  # hashable by identity
class Vocabulary:
    """Each mapping is by list: "category", "commodity", "state" or "district"."""

    names: Mapping[str, Names]  # by id, sorted by name: {"slug": …, "name": …}; read-only
    ids: Mapping[str, Mapping[str, int]]  # by slug
    parents: Mapping[str, Mapping[int, int]]  # a commodity's category, a district's state, by id

    def tree(self, field: str, child: str, children: str) -> list[dict[str, Any]]:
        """[{"slug", "name", children: [{"slug", "name"}]}], sorted by name."""
        entries: dict[int, dict[str, Any]] = {pk: {**entry, children: []} for pk, entry in self.names[field].items()}
        for pk, entry in self.names[child].items():
            entries[self.parents[child][pk]][children].append(entry)
        return list(entries.values())

    def slugs(self, field: str) -> list[str]:
        return sorted(self.ids[field])


class _Latest:
    version: int | None = None  # the version that this process read last


@lru_cache(maxsize=2)
def at_version(version: int) -> Vocabulary:
    """The names of this version or a newer one. Four statements if this process does not have it yet."""
    rows = {
        "category": list(Category.objects.values_list("pk", "slug", "name", "pk")),
        "commodity": list(Commodity.objects.values_list("pk", "slug", "name", "category_id")),
        "state": list(State.objects.values_list("pk", "slug", "name", "pk")),
        "district": list(District.objects.values_list("pk", "slug", "name", "state_id")),
    }
    names = {field: {pk: {"slug": slug, "name": name} for pk, slug, name, _ in of} for field, of in rows.items()}
    ids = {field: {slug: pk for pk, slug, _, _ in of} for field, of in rows.items()}
    parents = {field: {pk: parent for pk, _, _, parent in of} for field, of in rows.items()}
    _Latest.version = version
    return Vocabulary(names, ids, parents)


def current() -> Vocabulary:
    """The names as they are now. One statement reads their version."""
    return at_version(VocabularyVersion.objects.values_list("version", flat=True).get(pk=1))


def cached() -> Vocabulary:
    """The names in this process's memory, without a statement. New entries may be missing."""
    return current() if _Latest.version is None else at_version(_Latest.version)


def find(field: str, slug: str) -> int | None:
    """The id of a slug. A slug keeps its id forever, so only an unknown slug needs a statement."""
    return cached().ids[field].get(slug) or current().ids[field].get(slug)


def reset() -> None:
    at_version.cache_clear()
    _Latest.version = None
