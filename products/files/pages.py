"""The admin's pages to import and export products. Their jobs are in products/jobs."""

from __future__ import annotations

import tempfile
from itertools import chain
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from farmlokal.admin.model_admin import StaffAdmin
from farmlokal.admin.paginator import is_across_pages
from farmlokal.http.problems import Problem
from farmlokal.jobs import steps
from farmlokal.jobs.admin import page_of, start_page_of
from farmlokal.jobs.models import Job
from products.files import storage
from products.files.columns import COLUMNS, NEEDED, FileError
from products.files.storage import MAX_UPLOAD_BYTES, PIECE_BYTES
from products.files.tables import MAX_ROWS
from products.files.uploads import add_piece, uploaded
from products.files.xlsx_files import MAX_XLSX_ROWS, write_xlsx
from products.jobs.exports import Export
from products.jobs.imports import CheckImport, Import, find_file, parameters_of
from products.jobs.selections import Products, read
from products.listing.parameters import MAX_IDS
from products.models import ProductFile

FORMATS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class FilesAdmin(StaffAdmin):
    def get_urls(self) -> list[Any]:
        pages: list[tuple[str, str, Any]] = [
            ("import", "import/", self.import_view),
            ("import_piece", "import/pieces/", self.piece_view),
            ("import_start", "import/<int:pk>/start/", self.start_view),
            ("export", "export/", self.export_view),
            ("download", "export/<int:pk>/<str:form>/", self.download_view),
        ]
        wrap = self.admin_site.admin_view
        ours = [path(route, wrap(view), name=f"products_product_{name}") for name, route, view in pages]
        return [*ours, *super().get_urls()]

    @method_decorator(require_http_methods(["GET", "POST"]))
    def import_view(self, request: HttpRequest) -> HttpResponse:
        self._check_may_import(request)
        error = ""
        if request.method == "POST":
            try:
                file = uploaded(request)
                job = steps.start(CheckImport(), file.by, parameters=parameters_of(file))
                return start_page_of(job)
            except FileError as refused:
                error = str(refused)
        context = {
            "title": "Import products",
            "error": error,
            "columns": COLUMNS,
            "needed": NEEDED,
            "max_bytes": MAX_UPLOAD_BYTES,
            "piece_bytes": PIECE_BYTES,
            "max_rows": MAX_ROWS,
            "max_xlsx_rows": MAX_XLSX_ROWS,
        }
        return self._page(request, "import", context)

    @method_decorator(require_POST)
    def piece_view(self, request: HttpRequest) -> HttpResponse:
        """A part of a large file, sent by import.js. The first one has no upload yet."""
        self._check_may_import(request)
        try:
            file = add_piece(request)
        except FileError as error:
            return JsonResponse({"error": str(error)}, status=400)
        return JsonResponse({"upload": file.pk})

    @method_decorator(require_POST)
    def start_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Start the import after its check. A second click leads to the same job."""
        self._check_may_import(request)
        check = _finished(pk, CheckImport.name)
        with transaction.atomic():
            file = ProductFile.objects.select_for_update().filter(pk=check.parameters["file"]).first()
            if file is None:
                raise Http404
            if file.import_job is not None:
                return page_of(Job.objects.get(pk=file.import_job))
            job = steps.start(Import(), request.user.get_username(), parameters=parameters_of(file))
            file.import_job = job.pk
            file.save()
        return start_page_of(job)

    @method_decorator(require_http_methods(["GET", "POST"]))
    def export_view(self, request: HttpRequest) -> HttpResponse:
        """The query has the filter of the list, or the ids of products."""
        self._check_may_export(request)
        try:
            products = read(request.GET.urlencode())
        except Problem as problem:
            raise BadRequest(str(problem.detail)) from problem
        if request.method == "GET":
            return self._page(request, "export", {"title": "Export products", "count": products.counted()})
        return _start_export(request, products)

    @admin.action(description="Export selected products", permissions=["view"])
    def export(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Across all pages, the products of the list's filter; otherwise the selected ones."""
        if is_across_pages(request):
            return self.export_view(request)
        ids = ",".join(request.POST.getlist(ACTION_CHECKBOX_NAME))
        try:
            products = read(urlencode({"ids": ids}))
        except Problem:
            self.message_user(request, f"Select 1 to {MAX_IDS} products, or all that match.", messages.ERROR)
            return None
        return _start_export(request, products)

    @method_decorator(require_GET)
    def download_view(self, request: HttpRequest, pk: int, form: str) -> HttpResponseBase:
        """The file is built on the disk, so that no step holds all of it in memory."""
        self._check_may_export(request)
        job = _finished(pk, Export.name)
        file = find_file(job)
        if file is None or form not in FORMATS or (form == "xlsx" and job.done > MAX_XLSX_ROWS):
            raise Http404
        output = tempfile.TemporaryFile()  # noqa: SIM115  # the response closes it
        if form == "csv":
            storage.save_csv(file, COLUMNS, output)
        else:
            write_xlsx(output, chain([COLUMNS], storage.export_rows(file)))
        output.seek(0)
        name = f"products-{job.created_at:%Y-%m-%d}-{job.pk}.{form}"
        return FileResponse(output, as_attachment=True, filename=name, content_type=FORMATS[form])

    def _page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"admin/products/product/{name}.html", context)

    def _check_may_import(self, request: HttpRequest) -> None:
        if not (self.has_add_permission(request) and self.has_change_permission(request)):
            raise PermissionDenied

    def _check_may_export(self, request: HttpRequest) -> None:
        if not request.user.has_perm(Export.permission):
            raise PermissionDenied


def _start_export(request: HttpRequest, products: Products) -> HttpResponse:
    file = ProductFile.objects.create(name="products", by=request.user.get_username())
    job = steps.start(Export(), file.by, parameters=parameters_of(file), filter=products.query)
    return start_page_of(job)


def _finished(pk: int, action: str) -> Job:
    job: Job | None = Job.objects.filter(pk=pk, action=action, status=Job.Status.FINISHED).first()
    if job is None:
        raise Http404
    return job
