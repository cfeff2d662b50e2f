"""India's AGMARKNET lists: what is grown, and where. data/agmarknet.json names its source.

Filter lists of the Directorate of Marketing and Inspection, Government of India.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from products.models import new_version

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.apps.registry import Apps

FILE = Path(__file__).parent / "data" / "agmarknet.json"


@cache
def lists() -> dict[str, Any]:
    """{"source", "commodity_groups": [name], "commodities": [{name, group, varieties}],
    "states": [{name, districts: [{name, markets}]}]}"""
    document: dict[str, Any] = json.loads(FILE.read_bytes())
    return document


def slug_of(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def slugs_of(pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(parent, name) -> slug; where a name stands under two parents, each slug ends with its parent's."""
    pairs = list(pairs)
    uses = Counter(slug_of(name) for _, name in pairs)
    return {
        (parent, name): slug_of(name) if uses[slug_of(name)] == 1 else f"{slug_of(name)}-{slug_of(parent)}"
        for parent, name in pairs
    }


def commodity_slugs() -> dict[tuple[str, str], str]:
    return slugs_of((entry["group"], entry["name"]) for entry in lists()["commodities"])


def district_slugs() -> dict[tuple[str, str], str]:
    return slugs_of((state["name"], entry["name"]) for state in lists()["states"] for entry in state["districts"])


def load(apps: Apps) -> None:
    """Adds the entries that are not there yet; what staff changed stays as it is."""
    categories = _add(apps, "Category", [{"name": name, "slug": slug_of(name)} for name in lists()["commodity_groups"]])
    states = _add(apps, "State", [{"name": s["name"], "slug": slug_of(s["name"])} for s in lists()["states"]])
    _add(
        apps,
        "Commodity",
        [
            {"name": name, "slug": slug, "category": categories[slug_of(group)]}
            for (group, name), slug in commodity_slugs().items()
        ],
    )
    _add(
        apps,
        "District",
        [
            {"name": name, "slug": slug, "state": states[slug_of(state)]}
            for (state, name), slug in district_slugs().items()
        ],
    )
    apps.get_model("products", "VocabularyVersion").objects.update_or_create(pk=1, defaults={"version": new_version()})


def _add(apps: Apps, model_name: str, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """All entries of the model by slug, the given ones among them."""
    manager = apps.get_model("products", model_name)._default_manager
    known = set(manager.values_list("slug", flat=True))
    manager.bulk_create([manager.model(**entry) for entry in entries if entry["slug"] not in known])
    return {entry.slug: entry for entry in manager.all()}
