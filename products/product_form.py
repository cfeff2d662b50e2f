"""The form of a product in the admin, and what it does if the product has changed since the form was shown.

The form carries the version and the values that it showed. If another writer was faster, it comes back: with what
changed meanwhile, with everything that was typed, and with the newest values in all other fields. The next Save is
compared with this newer version. So no change is lost, and nothing is typed twice.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from django import forms
from django.utils.text import capfirst, normalize_newlines

from farmlokal.admin.model_admin import is_key
from products.history.pages import authors_since, names_of, text_of
from products.models import Product

SHOWN_VERSION = "shown_version"
SHOWN_VALUES = "shown_values"
HIDDEN = (SHOWN_VERSION, SHOWN_VALUES)

Plain = str | bool  # a value as JSON and browsers carry it


class Conflict(NamedTuple):
    """A field that others changed, in texts for people. saved: what the next Save stores."""

    label: str
    shown: str
    now: str
    by: str
    saved: str


class ProductForm(forms.ModelForm):  # type: ignore[type-arg]
    shown_version = forms.CharField(widget=forms.HiddenInput, required=False)
    shown_values = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conflicts: list[Conflict] = []
        if self.instance.pk and SHOWN_VERSION in self.fields:
            now = {name: plain(self.initial[name]) for name in self.fields if name not in HIDDEN}
            self.initial.update({SHOWN_VERSION: str(self.instance.version), SHOWN_VALUES: json.dumps(now)})
            if self.data.get(SHOWN_VERSION, "") not in {"", self.initial[SHOWN_VERSION]}:
                self._merge(now)

    def _merge(self, now: dict[str, Plain]) -> None:
        """Others changed the product. Replace the values of fields that were left as they were shown."""
        sent = {name: self._sent(name) for name in now}
        shown = _parsed(self.data.get(SHOWN_VALUES, ""))  # without them, all fields count as typed
        saved = {name: value if sent[name] == shown.get(name) else sent[name] for name, value in now.items()}
        authors = authors_since(self.instance, self.data[SHOWN_VERSION])
        self.data = {**self.data, **saved, **{name: self.initial[name] for name in HIDDEN}}
        for name, value in now.items():
            earlier = shown.get(name, sent[name])
            if value != earlier:
                self.conflicts.append(_conflict(name, earlier, value, saved[name], authors))

    def _sent(self, name: str) -> Plain:
        return plain(self.fields[name].widget.value_from_datadict(self.data, self.files, name))

    def clean_description(self) -> str:
        """Browsers send every line break as CR LF. That alone changes nothing."""
        kept: str = self.instance.description
        sent: str = normalize_newlines(self.cleaned_data["description"])
        return kept if sent == normalize_newlines(kept) else sent

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if self.conflicts:
            raise forms.ValidationError(
                "The product has changed since this page was opened, so nothing was saved yet. Your entries are still "
                "here. Compare them with the changes below, and save again."
            )
        return values


def plain(value: Any) -> Plain:
    return value if isinstance(value, bool) else normalize_newlines("" if value is None else str(value)).strip()


def _parsed(text: str) -> dict[str, Plain]:
    """{} if the text is not that of a form."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {name: plain(value) for name, value in values.items()} if isinstance(values, dict) else {}


def _conflict(name: str, shown: Plain, now: Plain, saved: Plain, authors: dict[str, str]) -> Conflict:
    field: Any = Product._meta.get_field(name)
    names = {}
    if field.is_relation:
        keys = {int(value) for value in (shown, now, saved) if is_key(str(value), field.related_model)}
        names = {field.attname: {str(key): text for key, text in names_of(field.related_model, keys).items()}}
    texts = [text_of(field, value, names) for value in (shown, now, saved)]
    return Conflict(capfirst(field.verbose_name), texts[0], texts[1], authors.get(field.attname, ""), texts[2])
