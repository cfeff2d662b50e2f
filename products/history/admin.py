"""The history page of an object in the admin. It shows the recorded changes of all writers, not only those of staff."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.admin.utils import unquote
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.utils.text import capfirst
from django.views.decorators.http import require_safe

from farmlokal.admin.model_admin import StaffAdmin
from products.history.pages import read_page


class HistoryAdmin(StaffAdmin):
    """Writes nothing to Django's own log of the admin: each change is recorded once."""

    def log_addition(self, *_: Any) -> Any:
        pass

    def log_change(self, *_: Any) -> Any:
        pass

    @method_decorator(require_safe)  # get_object() would lock the object for a POST, outside of a transaction
    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        shown = self.get_object(request, unquote(object_id))
        if shown is None:
            return self._get_obj_does_not_exist_redirect(  # type: ignore[attr-defined, no-any-return]
                request, self.opts, object_id
            )
        if not self.has_view_or_change_permission(request, shown):
            raise PermissionDenied
        page = read_page(self.model, shown.pk, before=_key(request, "before"), after=_key(request, "after"))
        context = self.admin_site.each_context(request) | {
            "title": f"History of {shown}",
            "subtitle": None,
            "module_name": capfirst(self.opts.verbose_name_plural),
            "object": shown,
            "opts": self.opts,
            "page": page,
        }
        return TemplateResponse(request, "admin/products/history.html", context | (extra_context or {}))


def _key(request: HttpRequest, name: str) -> int | None:
    text = request.GET.get(name)
    if text is None:
        return None
    if not re.fullmatch("[0-9]{1,18}", text):
        raise BadRequest(f"{name} must be the number of a change.")
    return int(text)
