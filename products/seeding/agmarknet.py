"""India's AGMARKNET lists of commodities and districts, in data/agmarknet.json, which names its source.

They are filter lists of the Directorate of Marketing and Inspection, Government of India.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

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
    """(parent, name) -> slug. If two parents share a name, each slug ends with its parent's."""
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
    """Fill the empty tables. apps: the migration's registry."""
    categories = _add(apps, "Category", {slug_of(name): {"name": name} for name in lists()["commodity_groups"]})
    commodities = commodity_slugs().items()
    _add(
        apps,
        "Commodity",
        {slug: {"name": name, "category": categories[slug_of(group)]} for (group, name), slug in commodities},
    )
    states = _add(apps, "State", {slug_of(state["name"]): {"name": state["name"]} for state in lists()["states"]})
    districts = district_slugs().items()
    _add(apps, "District", {slug: {"name": name, "state": states[slug_of(state)]} for (state, name), slug in districts})
    apps.get_model("products", "VocabularyVersion").objects.create()


def _add(apps: Apps, model_name: str, entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The model's new entries by slug."""
    manager = apps.get_model("products", model_name)._default_manager
    manager.bulk_create([manager.model(slug=slug, **fields) for slug, fields in entries.items()])
    return {entry.slug: entry for entry in manager.all()}
