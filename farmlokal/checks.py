"""What `manage.py check --deploy` warns of, beside Django's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import Tags, Warning, register  # noqa: A004  # Django's name

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTSIDE = ("PARTNER_API_URL", "OAUTH_TOKEN_URL", "OAUTH_JWKS_URL")


@register(Tags.security, deploy=True)
def plain_http(app_configs: Sequence[Any] | None, **_: Any) -> list[Warning]:
    """Whoever is on the way to them reads and writes along."""
    return [
        Warning(f"{name} is plain http: what goes there can be read and changed on the way.", id="farmlokal.W001")
        for name in OUTSIDE
        if getattr(settings, name).startswith("http://")
    ]
