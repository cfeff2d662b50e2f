"""The changes that staff make to many products. Each is made as the API would make it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from farmlokal.counts import Total
from farmlokal.jobs.actions import ItemAction, Taken
from farmlokal.jobs.models import Job
from products import services
from products.jobs import walks
from products.jobs.selections import read
from products.models import MAX_STOCK, Commodity, Product

PAISA = Decimal("0.01")
MAX_PERCENT = 1000


class ProductAction(ItemAction):
    permission = "products.change_product"
    verb: ClassVar[str]  # names it in the URL of its form
    form: ClassVar[type[forms.Form]] = forms.Form  # what it asks for

    def parameters(self, values: dict[str, Any]) -> dict[str, Any]:
        """The form's values as JSON."""
        return {name: str(value) for name, value in values.items()}

    def count(self, job: Job) -> Total:
        return read(job.filter).count()

    def take(self, job: Job, count: int) -> Taken:
        return read(job.filter).take(job.cursor, count)

    def lock(self, job: Job, items: Sequence[int]) -> Iterable[tuple[int, Product]]:
        return [(product.pk, product) for product in walks.lock(items, read(job.filter).sql())]

    def key(self, item: int) -> str:
        return f"Product {item}"

    @abstractmethod
    def current(self, product: Product) -> str:
        """The value that the action changes, as text."""

    @abstractmethod
    def preview(self, product: Product, prepared: Any) -> str:
        """That value after apply_one(). Raises ValidationError as it would."""


class ListingAction(ProductAction):
    """Changes whether a product is listed."""

    def current(self, product: Product) -> str:
        return "listed" if product.is_active else "withdrawn"


class Withdraw(ListingAction):
    name, verb = "product.withdraw", "withdraw"
    title = "Withdraw products"

    def apply_one(self, row: Product, prepared: Any) -> bool:
        if row.is_active:
            services.withdraw_locked(row)
            return True
        return False

    def preview(self, product: Product, prepared: Any) -> str:
        return "withdrawn"


class Restore(ListingAction):
    name, verb = "product.restore", "restore"
    title = "List products again"

    def apply_one(self, row: Product, prepared: Any) -> bool:
        if row.is_active:
            return False
        services.restore_locked(row)
        return True

    def preview(self, product: Product, prepared: Any) -> str:
        return "listed"


class FieldAction(ProductAction):
    """Sets one field."""

    field: ClassVar[Any]

    @abstractmethod
    def value(self, product: Product, prepared: Any) -> Any:
        """Raises ValidationError."""

    def apply_one(self, row: Product, prepared: Any) -> bool:
        return services.change_locked(row, **{self.field: self.value(row, prepared)})

    def current(self, product: Product) -> str:
        return str(getattr(product, self.field))

    def preview(self, product: Product, prepared: Any) -> str:
        after = self.value(product, prepared)
        field: Any = Product._meta.get_field(self.field)
        if not field.is_relation:
            field.clean(after, product)
        return str(after)


class PercentForm(forms.Form):
    percent = forms.DecimalField(
        label="Percent",
        max_digits=6,
        decimal_places=2,
        min_value=Decimal("-99.99"),
        max_value=MAX_PERCENT,
        help_text="5 raises each price by 5 %, -5 lowers it. Prices are rounded to paise.",
    )


class ChangePriceByPercent(FieldAction):
    name, verb = "product.price_percent", "price-percent"
    title = "Change prices by percent"
    form, field = PercentForm, "price"

    def describe(self, job: Job) -> str:
        return f"Change prices by {Decimal(job.parameters['percent']):+f} %"

    def value(self, product: Product, prepared: Any) -> Decimal:
        factor = (100 + Decimal(prepared["percent"])) / 100
        return (product.price * factor).quantize(PAISA, ROUND_HALF_UP)


class PriceForm(forms.Form):
    price = forms.DecimalField(label="Price in rupees", max_digits=10, decimal_places=2, min_value=PAISA)


class ChangePrice(FieldAction):
    name, verb = "product.price", "price"
    title = "Set prices"
    form, field = PriceForm, "price"

    def describe(self, job: Job) -> str:
        return f"Set prices to {job.parameters['price']}"

    def value(self, product: Product, prepared: Any) -> Decimal:
        return Decimal(prepared["price"])


class StockForm(forms.Form):
    stock = forms.IntegerField(label="Stock", min_value=0, max_value=MAX_STOCK)


class ChangeStock(FieldAction):
    name, verb = "product.stock", "stock"
    title = "Set stock"
    form, field = StockForm, "stock"

    def describe(self, job: Job) -> str:
        return f"Set stock to {job.parameters['stock']}"

    def value(self, product: Product, prepared: Any) -> int:
        return int(prepared["stock"])


class CommodityForm(forms.Form):
    commodity = forms.ModelChoiceField(
        Commodity.objects.all(), help_text="The category of the products follows from it."
    )


class ChangeCommodity(FieldAction):
    name, verb = "product.commodity", "commodity"
    title = "Change commodity"
    form, field = CommodityForm, "commodity"

    def parameters(self, values: dict[str, Any]) -> dict[str, Any]:
        return {"commodity": values["commodity"].slug}

    def describe(self, job: Job) -> str:
        return f"Change commodity to {job.parameters['commodity']}"

    def prepare(self, job: Job) -> Commodity:
        commodity = Commodity.objects.filter(slug=job.parameters["commodity"]).first()
        if commodity is None:
            raise ValidationError(f"There is no commodity {job.parameters['commodity']}.")
        return commodity

    def value(self, product: Product, prepared: Any) -> Any:
        return prepared
