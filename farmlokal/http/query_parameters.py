"""Rejects query parameters that a view would ignore."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import QueryDict

from farmlokal.http.problems import InvalidParameter


def check_parameters(query: QueryDict, known: Sequence[str], repeatable: Sequence[str] = ()) -> None:
    """Raises InvalidParameter for an unknown parameter, or for one that is wrongly repeated."""
    for name, values in query.lists():
        if name not in known:
            others = f"; known: {', '.join(known)}" if known else ""
            raise InvalidParameter(name, f"is not a parameter here{others}.", known)
        if len(values) > 1 and name not in repeatable:
            raise InvalidParameter(name, "may be given only once.")
