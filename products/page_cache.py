"""The cached pages of the catalogue: listings, single products, vocabularies."""

from __future__ import annotations

from farmlokal.page_cache.cache import PageCache
from farmlokal.page_cache.pages import Lifetime

# LASTING: pages that many clients ask for. SHORT: pages that hardly anyone asks for twice (deep pages, words, single
# prices), so that crawlers and random words fill the memory for three minutes at most.
LASTING = Lifetime(fresh=600, kept=3600)
SHORT = Lifetime(fresh=180, kept=60)

catalogue_cache = PageCache("catalogue")
announce_write = catalogue_cache.announce_write
