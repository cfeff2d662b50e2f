"""What `manage.py check --deploy` warns of, beside Django's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import Tags, Warning, register  # noqa: A004  # Django's name

from farmlokal.webhook_secrets import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_KEY_BYTES = 24  # of Standard Webhooks
OUTSIDE = ("PARTNER_API_URL", "OAUTH_TOKEN_URL", "OAUTH_JWKS_URL")


@register(Tags.security, deploy=True)
def plain_http(app_configs: Sequence[Any] | None, **_: Any) -> list[Warning]:
    """Whoever is on the way to them reads and writes along."""
    return [
        Warning(f"{name} is plain http: what goes there can be read and changed on the way.", id="farmlokal.W001")
        for name in OUTSIDE
        if getattr(settings, name).startswith("http://")
    ]


@register(Tags.security, deploy=True)
def short_webhook_secrets(app_configs: Sequence[Any] | None, **_: Any) -> list[Warning]:
    """Whoever guesses one can write prices."""
    lengths = [len(decode(secret)) for secret in settings.PARTNER_WEBHOOK_SECRETS]
    if all(length >= LEAST_KEY_BYTES for length in lengths):
        return []
    text = f"PARTNER_WEBHOOK_SECRETS has a secret of less than {LEAST_KEY_BYTES} bytes, which can be guessed."
    return [Warning(text, id="farmlokal.W002")]
