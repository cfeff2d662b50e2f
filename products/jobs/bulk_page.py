"""The page that starts a job: the value, how many products it changes, and what becomes of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from farmlokal.admin.model_admin import StaffAdmin
from farmlokal.admin.paginator import is_across_pages
from farmlokal.http.problems import Problem
from farmlokal.jobs.actions import reason_of
from farmlokal.jobs.admin import lead_to, start_once
from farmlokal.jobs.models import Job
from products.jobs import BULK_ACTIONS
from products.jobs.changes import ProductAction
from products.jobs.selections import Products, read
from products.models import Product

SAMPLE_ROWS = 5
LIST_PAGE = "admin:products_product_changelist"
BULK_PAGE = "admin:products_product_bulk"
ACTION = "action"  # the parameter that names the action; the others are the list's query


class Sample(NamedTuple):
    product: Product
    before: str
    after: str = ""
    reason: str = ""  # why it would fail


def admin_actions() -> list[Any]:
    """The actions of the product list. Each leads to the page."""
    return [_admin_action(action) for action in BULK_ACTIONS]


def _admin_action(action: ProductAction) -> Any:
    def lead_to_page(admin: Any, request: HttpRequest, queryset: Any) -> HttpResponse:
        if is_across_pages(request):
            query = request.GET.urlencode()
        else:
            pks = queryset.order_by("pk").values_list("pk", flat=True)
            query = urlencode({"ids": ",".join(map(str, pks))})
        return redirect(f"{reverse(BULK_PAGE)}?{ACTION}={action.verb}&{query}")

    lead_to_page.__name__ = action.verb
    lead_to_page.short_description = action.title  # type: ignore[attr-defined]
    lead_to_page.allowed_permissions = ("change",)  # type: ignore[attr-defined]
    return lead_to_page


def show(admin: StaffAdmin, request: HttpRequest) -> HttpResponse:
    """The page. It starts the job after a POST without `preview`."""
    if not admin.has_change_permission(request):
        raise PermissionDenied
    query = request.GET.copy()
    verbs = query.pop(ACTION, [])
    action = next((one for one in BULK_ACTIONS if [one.verb] == verbs), None)
    if action is None:
        raise Http404
    try:
        products = read(query.urlencode())
    except Problem as problem:
        messages.error(request, str(problem.detail))
        return redirect(LIST_PAGE)
    form = action.form(request.POST if request.method == "POST" else None)
    parameters: dict[str, Any] | None = None if form.fields else {}
    if form.is_valid():
        parameters = action.parameters(form.cleaned_data)
        if "preview" not in request.POST:
            job = start_once(request, action, parameters=parameters, filter=products.query)
            return lead_to(request, job) or redirect(LIST_PAGE)
    return _render(admin, request, action, products, form, _samples(action, products, parameters))


def _samples(action: ProductAction, products: Products, parameters: dict[str, Any] | None) -> list[Sample]:
    """parameters: None while a value is missing or bad."""
    rows = Product.objects.select_related("commodity").in_bulk(products.take(None, SAMPLE_ROWS).items)
    prepared = action.prepare(Job(action=action.name, parameters=parameters)) if parameters is not None else None
    return [_sample(action, product, prepared) for product in rows.values()]


def _sample(action: ProductAction, product: Product, prepared: Any) -> Sample:
    before = action.current(product)
    if prepared is None:
        return Sample(product, before)
    try:
        return Sample(product, before, action.preview(product, prepared))
    except ValidationError as error:
        return Sample(product, before, reason=reason_of(error))


def _render(
    admin: StaffAdmin,
    request: HttpRequest,
    action: ProductAction,
    products: Products,
    form: forms.Form,
    samples: Sequence[Sample],
) -> HttpResponse:
    context = {
        **admin.admin_site.each_context(request),
        "opts": admin.opts,
        "title": action.title,
        "form": form,
        "count": products.counted(),
        "products": products,
        "samples": samples,
    }
    return TemplateResponse(request, "admin/products/product/bulk.html", context)
