"""The admin pages of the catalogue. Products are withdrawn, not deleted.

No page counts the product table. The list of products is that of GET /products, see product_list.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.translation import ngettext

from farmlokal.admin.badges import badge
from farmlokal.admin.dashboard import SHOWN_CHANGES, Change, Fact
from farmlokal.admin.keyset import KeysetAdmin, KeysetList
from farmlokal.admin.window_admin import WindowAdmin
from farmlokal.jobs.admin import page_of
from products import services
from products.files.pages import FilesAdmin
from products.history.admin import HistoryAdmin
from products.history.recent import recent_changes
from products.history.tables import MODELS
from products.jobs import bulk_page
from products.models import Category, Commodity, District, Farm, Product, State
from products.product_form import HIDDEN, ProductForm
from products.product_list.pages import read_list
from products.product_list.row_forms import forms_of, posted_forms, refused_forms, save_rows
from products.product_list.rows import name_of_commodity

MAX_SEARCH_WORDS = 10  # each is compared with each name


class PermanentAdmin(HistoryAdmin):
    """For rows that others refer to. fixed_fields cannot change after creation."""

    fixed_fields: tuple[str, ...] = ()
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, *(self.fixed_fields if obj else ()))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class RenamedAdmin(PermanentAdmin):
    """For rows whose names are among the words of products."""

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """After a rename: to the job that makes the new name searchable."""
        job = obj.reindexing
        if job is None or not request.user.has_perm("farmlokal.view_job"):
            return super().response_change(request, obj)
        text = f"Pages show the new name of “{obj}” at once. This job makes it searchable."
        self.message_user(request, text, messages.SUCCESS)
        return page_of(job)  # its first step would join the transaction of this form


class VocabularyAdmin(RenamedAdmin):
    """Slugs are fixed, because clients use them in URLs."""

    fixed_fields: tuple[str, ...] = ("slug",)
    list_display: tuple[str, ...] = ("name", "slug")
    search_fields = ("name",)

    def get_prepopulated_fields(self, request: HttpRequest, obj: Model | None = None) -> dict[str, Any]:
        return {} if obj else {"slug": ("name",)}


admin.site.register([Category, State], VocabularyAdmin)


@admin.register(Commodity)
class CommodityAdmin(VocabularyAdmin):
    """The category is fixed, because products have a copy of it."""

    fixed_fields = ("slug", "category")
    list_display = ("name", "category", "slug")
    list_filter = ("category",)
    list_select_related = ("category",)


@admin.register(District)
class DistrictAdmin(VocabularyAdmin):
    fixed_fields = ("slug", "state")
    list_display = ("name", "state", "slug")
    list_filter = ("state",)
    list_select_related = ("state",)


@admin.register(Farm)
class FarmAdmin(WindowAdmin, RenamedAdmin):
    """The district is fixed, because products have a copy of it."""

    fixed_fields = ("district",)
    autocomplete_fields = ("district",)
    list_display = ("name", "district_name")
    search_fields = ("name",)
    search_help_text = "The beginning of a name. More words may stand anywhere in it."
    ordering = ("name", "id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("district")

    @admin.display(description="district")
    def district_name(self, farm: Farm) -> str:
        """Without a join. With a join, the optimizer would start from the districts and sort all farms."""
        return farm.district.name

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The first word is a range of the index of names. The others are looked for in this range only."""
        words = search_term.split()[:MAX_SEARCH_WORDS]
        if words:
            queryset = queryset.filter(name__istartswith=words[0])
        for word in words[1:]:
            queryset = queryset.filter(name__icontains=word)
        return queryset, False


QUICK_VIEWS = {"Out of stock": "in_stock=false", "Withdrawn": "withdrawn=true"}  # queries of the list


@admin.register(Product)
class ProductAdmin(FilesAdmin, KeysetAdmin, PermanentAdmin):
    form = ProductForm
    autocomplete_fields = ("commodity", "farm")
    readonly_fields = ("slug", "version", "created_at", "updated_at")
    list_display = ("name", "commodity_name", "farm_name", "price", "unit", "stock", "is_organic", "is_listed")
    actions = (*bulk_page.admin_actions(), "export")

    def get_urls(self) -> list[Any]:
        page = self.admin_site.admin_view(partial(bulk_page.show, self))
        return [path("bulk/", page, name="products_product_bulk"), *super().get_urls()]

    def index_facts(self, request: HttpRequest) -> list[Fact]:
        url = reverse("admin:products_product_changelist")
        return [Fact(text, f"{url}?{query}") for text, query in QUICK_VIEWS.items()]

    def index_changes(self, request: HttpRequest) -> list[Change]:
        """Of the whole catalogue."""
        viewed = [model for model in MODELS if self.admin_site.get_model_admin(model).has_view_permission(request)]
        return [
            Change(
                change.name,
                change.url,
                f"{change.model._meta.verbose_name}: {', '.join(change.fields) or change.kind}, by {change.by}",
                change.at,
            )
            for change in recent_changes(SHOWN_CHANGES, viewed)
        ]

    def get_fieldsets(self, request: HttpRequest, obj: Product | None = None) -> Any:
        offer = ["name", "commodity", ("variety", "grade"), "farm", "description"]
        if self.has_change_permission(request, obj):
            offer += HIDDEN
        record = ("Record", {"fields": self.readonly_fields, "classes": ["aside"]})
        return [
            ("Offer", {"fields": offer}),
            ("Price and stock", {"fields": (("price", "unit", "stock"), ("organic", "is_active"))}),
            *([record] if obj else []),
        ]

    def read_list(self, request: HttpRequest) -> KeysetList:
        return read_list(request.GET)

    def row_forms(self, request: HttpRequest, rows: Sequence[Product]) -> Any:
        return forms_of(rows)

    def save_rows(self, request: HttpRequest) -> Any:
        formset = posted_forms(request.POST)
        saved = save_rows(formset)
        if saved:
            text = ngettext("%d product was changed.", "%d products were changed.", saved)
            self.message_user(request, text % saved, messages.SUCCESS)
        refused = refused_forms(formset)
        if refused is not None:
            self.message_user(request, "Products with an error below were not saved.", messages.ERROR)
        return refused

    @admin.display(description="commodity")
    def commodity_name(self, product: Product) -> str:
        return name_of_commodity(product)

    @admin.display(description="farm")
    def farm_name(self, product: Product) -> str:
        return product.farm.name

    @admin.display(description="organic")
    def is_organic(self, product: Product) -> str:
        return badge("Organic", "good") if product.organic else ""

    @admin.display(description="listed")
    def is_listed(self, product: Product) -> str:
        return badge("Listed", "good") if product.is_active else badge("Withdrawn", "quiet")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Product | None:
        """Locks the product while a form is saved, so that two writers cannot create the same version."""
        product: Product | None = super().get_object(request, object_id, from_field)
        if product and request.method == "POST":
            product = Product.objects.select_for_update().get(pk=product.pk)
        return product

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Write nothing if no value differs, as services.change does. A new version would fail clients' If-Match."""
        before = services.lock(obj.pk) if change else None
        if before is None or obj.changed_fields(before):
            obj.save(before=before)
