"""Django looks here for the tables of the shared packages."""

from farmlokal.page_cache.missed_writes import MissedWrites

__all__ = ["MissedWrites"]
