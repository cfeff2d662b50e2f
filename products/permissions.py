"""Who may write: members of staff, by the session of the admin and with its permissions.

Reads know no caller, and never touch a session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView

# By action of the view. Withdrawing is a change: the row stays.
PERMISSIONS = {
    "create": "products.add_product",
    "partial_update": "products.change_product",
    "destroy": "products.change_product",
}


class StaffSession(SessionAuthentication):
    """A session and, against forged requests from other sites, its CSRF token."""

    def authenticate_header(self, request: Request) -> str:
        return 'Session realm="farmlokal"'  # without a challenge DRF would answer 403 for 401


class MayWrite(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        needed = PERMISSIONS.get(getattr(view, "action", None) or "")
        if needed is None:
            return True
        is_staff: bool = getattr(request.user, "is_staff", False)  # nobody is None
        return is_staff and request.user.has_perm(needed)
