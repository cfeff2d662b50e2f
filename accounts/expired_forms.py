"""Forms of the admin that arrive after their session has ended. The login page keeps them; a click sends them again.

Only forms of our own pages are kept. Otherwise another site could put a form of its own before a member of staff.
"""

from __future__ import annotations

from typing import NamedTuple

from django.core import signing
from django.http import HttpRequest

from farmlokal.admin.error_pages import is_staff_page

NAME = "expired_form"  # of the field in the login form
SALT = "accounts.expired_forms"
MAX_AGE_SECONDS = 24 * 3600
MAX_CHARACTERS = 500_000  # of all values; together they come back in one field


class ExpiredForm(NamedTuple):
    path: str  # with its query
    fields: list[tuple[str, str]]  # without passwords and files
    has_lost_files: bool

    def packed(self) -> str:
        return signing.dumps(self, salt=SALT, compress=True)


def form_in(request: HttpRequest) -> ExpiredForm | None:
    """None if it does not come from a page of this service. Without fields if it is too large to be kept."""
    origin = f"{request.scheme}://{request.get_host()}"
    if request.headers.get("Origin") != origin or not is_staff_page(request):
        return None
    fields = [(name, str(value)) for name, values in request.POST.lists() for value in values if _may_be_kept(name)]
    is_small = sum(len(name) + len(value) for name, value in fields) <= MAX_CHARACTERS
    return ExpiredForm(request.get_full_path(), fields if is_small else [], bool(request.FILES))


def _may_be_kept(name: str) -> bool:
    return name not in {"csrfmiddlewaretoken", NAME} and "password" not in name


def unpacked(text: str) -> ExpiredForm | None:
    """None if this service has not signed it, or long ago."""
    try:
        path, fields, has_lost_files = signing.loads(text, salt=SALT, max_age=MAX_AGE_SECONDS)
    except signing.BadSignature:
        return None
    return ExpiredForm(path, [(name, value) for name, value in fields], has_lost_files)
