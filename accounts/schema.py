"""How the OpenAPI document says who calls."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """drf-spectacular finds it by its target."""

    target_class = "accounts.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        text = "A token of the configured provider (client credentials), whose client is known here. Writes take the "
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": text + "scope `catalogue:write`; a client has a rate limit of its own.",
        }
