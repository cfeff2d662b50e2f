"""The cached pages of the catalogue: listings, single products, vocabularies."""

from __future__ import annotations

from collections.abc import Iterable

from farmlokal.page_cache.cache import PageCache
from farmlokal.page_cache.pages import Lifetime

# LASTING: pages that many clients ask for. SHORT: pages that few clients ask for twice (deep pages, words, prices), so
# that a crawler fills the memory for a few minutes at most.
LASTING = Lifetime(fresh=600, kept=3600)
SHORT = Lifetime(fresh=180, kept=60)
RARELY_REPEATED = {"cursor", "q", "price_min", "price_max", "limit", "fields", "ids"}

catalogue_cache = PageCache("catalogue")
announce_write = catalogue_cache.announce_write


def lifetime_of(parameters: Iterable[str]) -> Lifetime:
    """Of a listing with these parameters in its normalised query."""
    return LASTING if RARELY_REPEATED.isdisjoint(parameters) else SHORT
