"""Form fields of the product list's filters. They validate nothing: the parameters do, and name what they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django import forms
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from products import vocabulary
from products.vocabulary import Vocabulary


class Kept:
    """Shows a refused value as a choice of its own, so that it is not lost."""

    def optgroups(self, name: str, value: Sequence[str], attrs: dict[str, Any] | None = None) -> Any:
        groups = super().optgroups(name, value, attrs)  # type: ignore[misc]
        known = {str(option["value"]) for _, options, _ in groups for option in options}
        for text in value:
            if text and text not in known:
                option = self.create_option(name, text, text, True, len(groups))  # type: ignore[attr-defined]
                groups.append((None, [option], len(groups)))
        return groups


class KeptSelect(Kept, forms.Select):
    pass


class KeptCheckboxes(Kept, forms.CheckboxSelectMultiple):
    pass


class VocabularySelect(forms.Widget):
    """Hundreds of slugs in groups. Django's select would render a template for each of them."""

    def __init__(self, parent: str, child: str) -> None:
        super().__init__()
        self.parent, self.child = parent, child

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        options = _options(vocabulary.cached(), self.parent, self.child)
        chosen = format_html('<option value="{}"', value or "")
        if chosen in options:
            options = mark_safe(options.replace(chosen, f"{chosen} selected"))  # noqa: S308  # escaped already
        elif value:
            options += format_html('<option value="{}" selected>{}</option>', value, value)
        named = self.build_attrs(self.attrs, {**(attrs or {}), "name": name})
        return format_html("<select{}>{}</select>", format_html_join("", ' {}="{}"', named.items()), options)


@lru_cache(maxsize=4)
def _options(names: Vocabulary, parent: str, child: str) -> SafeString:
    groups = (
        format_html('<optgroup label="{}">{}</optgroup>', entry["name"], _options_of(entry["children"]))
        for entry in names.tree(parent, child, "children")
    )
    return format_html('<option value="">Any</option>{}', format_html_join("", "{}", ((group,) for group in groups)))


def _options_of(entries: list[dict[str, Any]]) -> SafeString:
    rows = ((entry["slug"], entry["name"]) for entry in entries)
    return format_html_join("", '<option value="{}">{}</option>', rows)
