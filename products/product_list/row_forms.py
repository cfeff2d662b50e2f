"""Price and stock of the list's products, edited in their rows.

A row that another writer has changed since the page was shown is refused, and shows its current values. Each row is
saved in a transaction of its own, so that a refused row keeps no other from being saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import BadRequest
from django.forms.utils import ErrorList, flatatt
from django.http import QueryDict
from django.utils.html import format_html
from django.utils.safestring import SafeString

from farmlokal.admin.model_admin import is_key
from farmlokal.mysql.transactions import atomic_with_retry
from products import services
from products.models import Product
from products.product_list.rows import by_ids

EDITED = ("price", "stock")
SHOWN_VERSION = "shown_version"


class FastInput(forms.NumberInput):
    """Without a template: a page has hundreds of inputs."""

    def render(self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None) -> SafeString:
        widget = self.get_context(name, value, attrs)["widget"]
        shown = {} if widget["value"] is None else {"value": widget["value"]}
        attributes = flatatt({**shown, **widget["attrs"]})
        return format_html('<input type="{}" name="{}"{}>', self.input_type, name, attributes)


class FastHiddenInput(FastInput):
    input_type = "hidden"


class FastErrors(ErrorList):
    """Without a template for the many fields that have no errors."""

    def render(self, *args: Any, **kwargs: Any) -> SafeString:
        return super().render(*args, **kwargs) if self.data else SafeString()

    __str__ = __html__ = render


class RowForm(forms.ModelForm):  # type: ignore[type-arg]  # generic in the stubs only
    shown_version = forms.IntegerField(widget=FastHiddenInput)

    class Meta:
        model = Product
        fields = EDITED
        widgets = dict.fromkeys(EDITED, FastInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[SHOWN_VERSION].initial = self.instance.version
        for name in EDITED:
            field = self.fields[name]
            # The page sends the shown values too, so that a change of others is not taken for one of this user.
            field.show_hidden_initial = True
            field.hidden_widget = FastHiddenInput
            field.widget.attrs["aria-label"] = f"{name.capitalize()} of {self.instance.name}"

    @property
    def edited(self) -> list[str]:
        """The fields that the user has changed."""
        return [name for name in EDITED if name in self.changed_data]

    def refuse(self, current: Product) -> None:
        """Keep what the user has typed beside the current values. Saving again replaces them."""
        values = f"the price is now {current.price}, the stock {current.stock}"
        self.add_error(None, f"{current.name} has changed meanwhile: {values}. Save again to replace them.")
        data: Any = self.data
        data[self.add_prefix(SHOWN_VERSION)] = str(current.version)
        for name in EDITED:
            data[self.add_initial_prefix(name)] = str(getattr(current, name))
            if name not in self.edited:
                data[self.add_prefix(name)] = str(getattr(current, name))


class RowFormSet(forms.BaseModelFormSet):  # type: ignore[type-arg]
    def get_queryset(self) -> Any:
        """A list, in the order of the page."""
        return self.queryset

    def add_fields(self, form: Any, index: int | None) -> None:
        """Without the field for the id of BaseModelFormSet, which needs a statement for each row."""
        forms.BaseFormSet.add_fields(self, form, index)
        form.fields["id"] = forms.IntegerField(widget=FastHiddenInput, initial=form.instance.pk)


_FormSet: Any = forms.modelformset_factory(Product, RowForm, formset=RowFormSet, extra=0, edit_only=True)


def forms_of(products: Sequence[Product]) -> Any:
    return _FormSet(queryset=products, error_class=FastErrors)


def posted_forms(data: QueryDict) -> Any:
    """A form for each posted row. Raises BadRequest for data that the list did not send."""
    keys = [str(text) for name, text in data.items() if name.startswith("form-") and name.endswith("-id")]
    if not all(is_key(text, Product) for text in keys):
        raise BadRequest("The id of a row is not a number.")
    products = {product.pk: product for product in by_ids(map(int, keys)).prefetch_related("farm")}
    rows = [products[pk] for pk in map(int, keys) if pk in products]
    formset = _FormSet(data.copy(), queryset=rows, error_class=FastErrors)
    if not formset.management_form.is_valid() or any(form.instance.pk is None for form in formset.forms):
        raise BadRequest("The rows are not those of a list.")
    return formset


def save_rows(formset: Any) -> int:
    """Saves the edited rows that can be saved, and returns their number. The others have errors."""
    return sum(_save(form) for form in formset.forms if form.edited and form.is_valid())


@atomic_with_retry
def _save(form: RowForm) -> bool:
    product = services.lock(form.instance.pk)
    if product is None or product.version != form.cleaned_data[SHOWN_VERSION]:
        form.refuse(product or form.instance)
        return False
    values: Any = {name: form.cleaned_data[name] for name in form.edited}
    return services.change_locked(product, **values)


def refused_forms(formset: Any) -> Any:
    """The refused rows as they were typed, and the others as they are now. None if no row was refused."""
    refused = {number: form for number, form in enumerate(formset.forms) if form.edited and form.errors}
    if not refused:
        return None
    ids = [form.instance.pk for form in formset.forms]
    products = by_ids(ids).prefetch_related("farm").in_bulk()
    shown = forms_of([products[pk] for pk in ids])
    for number, form in refused.items():
        form.instance = products[ids[number]]
        shown.forms[number] = form
    return shown
