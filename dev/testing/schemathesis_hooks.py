"""What schemathesis is told besides the document: it makes sense of requests that are right parameter by parameter.

How parameters go together, which names there are and how a number is written is more than a schema can say.
Requests that are meant to be wrong are sent as they are.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

import schemathesis
from hypothesis import strategies

if TYPE_CHECKING:
    from collections.abc import Callable

    Query = dict[str, Any]
    Ask = Callable[[str], Any]

# Left alone, it puts no quotes into headers.
schemathesis.openapi.format("entity-tags", strategies.sampled_from(["*", '"one"', 'W/"one", "two"', '""']))


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    base = (case.operation.base_url or "").rstrip("/")
    if case.path == "/products" and case.query:
        case.query = sensible_query(case.query, base)
    if isinstance(case.body, dict):
        case.body = sensible_body(case.body, base)


def sensible_query(query: Query, base: str) -> Query:
    if "ids" in query:
        return {name: query[name] for name in ("ids", "fields") if name in query}
    if "cursor" in query:
        return {name: query[name] for name in ("limit", "fields") if name in query} | {"cursor": known_cursor(base)}
    if "price_min" in query and "price_max" in query:
        low, high = sorted([query["price_min"], query["price_max"]], key=float)
        query = {**query, "price_min": low, "price_max": high}
    known = {"category": slugs(base, "categories"), "state": slugs(base, "states")}
    return query | {name: as_many(query[name], known[name]) for name in known if name in query}


def sensible_body(body: dict[str, Any], base: str) -> dict[str, Any]:
    """1.0 is an integer to JSON Schema, not to this service."""
    known = {name: value for name, value in known_references(base).items() if name in body}
    return {name: int(value) if isinstance(value, float) else value for name, value in body.items()} | known


def as_many(given: Any, known: list[str]) -> Any:
    return [slug for _, slug in zip(given, cycle(known), strict=False)] if isinstance(given, list) else known[0]


@cache
def ask(url: str) -> Any:
    with urlopen(url, timeout=10) as answer:  # noqa: S310  # our own server
        return json.load(answer)


def slugs(base: str, name: str) -> list[str]:
    return [entry["slug"] for entry in ask(f"{base}/{name}")["results"]]


def known_cursor(base: str) -> str:
    following: str = ask(f"{base}/products")["next"]
    return parse_qs(urlsplit(following).query)["cursor"][0]


def known_references(base: str) -> dict[str, Any]:
    product = ask(f"{base}/products?limit=1")["results"][0]
    return {"commodity": product["commodity"]["slug"], "farm": product["farm"]["id"]}
