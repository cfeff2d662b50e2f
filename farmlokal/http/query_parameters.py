"""Query parameters of which nothing is silently ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farmlokal.http.problems import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import QueryDict


def check_parameters(given: QueryDict, known: Sequence[str], repeatable: Sequence[str] = ()) -> None:
    """Raises InvalidParameter for one that is not known, or given twice."""
    for name, values in given.lists():
        if name not in known:
            others = f"; known: {', '.join(known)}" if known else ""
            raise InvalidParameter(name, f"is not a parameter here{others}.", known)
        if len(values) > 1 and name not in repeatable:
            raise InvalidParameter(name, "may be given only once.")
