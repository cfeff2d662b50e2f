"""The names of categories, commodities, states and districts, held in memory.

Some 1,400 rows that change a few times a year: a page joins none of them. The version that it
reads with its rows says whether this process holds names at least as new as those rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from products.models import Category, Commodity, District, State

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


@lru_cache(maxsize=2)
def at_version(version: int | None) -> Vocabulary:
    """The names as of this version, or newer ones; four statements the first time a process meets it."""
    return Vocabulary(_names(Category), _names(Commodity), _names(State), _names(District))


def _names(model: type[VocabularyEntry]) -> Names:
    return {
        pk: {"slug": slug, "name": name} for pk, slug, name in model._default_manager.values_list("pk", "slug", "name")
    }
