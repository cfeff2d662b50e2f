"""The form beside the product list: search, sort and filters. Its choices come from memory, without a statement."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import QueryDict

from farmlokal.admin.model_admin import KeySelect
from farmlokal.http.problems import Problem
from products import vocabulary
from products.listing.filters import MAX_Q_LENGTH
from products.models import Farm, Product
from products.product_list.widgets import KeptCheckboxes, KeptSelect, VocabularySelect

SORTS = {
    "": "Newest first",
    "created_at": "Oldest first",
    "price": "Cheapest first",
    "-price": "Most expensive first",
    "name": "Name, A to Z",
    "-name": "Name, Z to A",
}
FLAGS = {"": "Any", "true": "Yes", "false": "No"}


class FarmField(forms.ModelChoiceField):  # type: ignore[type-arg]  # generic in the stubs only
    """Finds farms by their names. The parameter `farm` checks the value."""

    def __init__(self, **options: Any) -> None:
        super().__init__(Farm.objects.all(), widget=KeySelect(Product._meta.get_field("farm"), admin.site), **options)

    def clean(self, value: Any) -> Any:
        return value


def _entries(field: str) -> dict[str, str]:
    return {entry["slug"]: entry["name"] for entry in vocabulary.cached().names[field].values()}


def _price(label: str) -> forms.CharField:
    return forms.CharField(label=label, required=False, widget=forms.TextInput({"inputmode": "decimal"}))


class FilterForm(forms.Form):
    q = forms.CharField(
        label="Search products",
        required=False,
        strip=False,
        widget=forms.TextInput({"type": "search", "maxlength": MAX_Q_LENGTH, "id": "searchbar"}),
        help_text="Words of the name, commodity, variety, farm or place; or the id of a product.",
    )
    sort = forms.CharField(required=False, widget=KeptSelect(choices=SORTS.items()))
    category = forms.Field(required=False, widget=KeptCheckboxes)
    commodity = forms.CharField(required=False, widget=VocabularySelect("category", "commodity"))
    state = forms.CharField(required=False, widget=KeptSelect)
    district = forms.CharField(required=False, widget=VocabularySelect("state", "district"))
    farm = FarmField(required=False)
    price_min = _price("Price from ₹")
    price_max = _price("Price to ₹")
    organic = forms.CharField(required=False, widget=KeptSelect(choices=FLAGS.items()))
    in_stock = forms.CharField(required=False, widget=KeptSelect(choices=FLAGS.items()))
    withdrawn = forms.CharField(required=False, widget=forms.HiddenInput)
    limit = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, query: QueryDict, problem: Problem | None = None) -> None:
        """problem: of the parameters. Its errors stand beside their fields, and others above them."""
        super().__init__(query, auto_id="filter_%s")
        widgets: dict[str, Any] = {name: field.widget for name, field in self.fields.items()}
        widgets["category"].choices = _entries("category").items()
        widgets["state"].choices = [("", "Any"), *_entries("state").items()]
        for error in problem.errors if problem else ():
            name, detail = error["parameter"], error["detail"]
            is_visible = name in self.fields and not self.fields[name].widget.is_hidden
            self.add_error(*((name, detail) if is_visible else (None, f"{name}: {detail}")))
