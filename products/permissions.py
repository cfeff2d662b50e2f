"""Permission to write: API clients need the scope in their token, staff need an admin session and its permissions.

Reads are open to everyone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from farmlokal.http.problems import Problem

if TYPE_CHECKING:  # imported at run time, it would be a cycle
    from rest_framework.views import APIView

SCOPE = "catalogue:write"
# The staff permission for each action of the view. Withdrawing is a change, because the row stays.
WRITES = {
    "create": "products.add_product",
    "partial_update": "products.change_product",
    "destroy": "products.change_product",
}


class StaffSession(SessionAuthentication):
    """A session and its CSRF token."""


class MayWrite(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:
        needed = WRITES.get(getattr(view, "action", None) or "")
        if needed is None:
            return True
        scopes = getattr(request.auth, "scopes", None)
        if scopes is None:
            is_staff: bool = getattr(request.user, "is_staff", False)  # anonymous requests have no user
            return is_staff and request.user.has_perm(needed)
        if SCOPE not in scopes:
            challenge = f'Bearer realm="farmlokal", error="insufficient_scope", scope="{SCOPE}"'
            raise Problem(
                "permission-denied", f"The token lacks the scope {SCOPE}.", headers={"WWW-Authenticate": challenge}
            )
        return True


def caller_name(request: Request) -> str:
    """The caller's name for idempotency keys: user:7, apiclient:7."""
    return f"{request.user.__class__.__name__.lower()}:{request.user.pk}"
