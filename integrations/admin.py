"""The log of webhooks: staff read it and replay events. They cannot edit it."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.text import Truncator

from farmlokal.admin.badges import Tone, badge
from farmlokal.admin.dashboard import Fact, bounded_count
from farmlokal.admin.keyset import KeysetAdmin, KeysetList
from farmlokal.admin.model_admin import ReadOnly
from farmlokal.admin.paginator import is_across_pages
from farmlokal.jobs import steps
from farmlokal.jobs.admin import lead_to
from integrations.models import SHORT_LENGTH, WebhookEvent, WebhookReplay
from integrations.webhooks.jobs import REPLAY, query_of, query_of_ids
from integrations.webhooks.log_list import LogForm, read_list

TONES: dict[str, Tone] = {
    WebhookEvent.Status.PROCESSED: "good",
    WebhookEvent.Status.FAILED: "warn",
    WebhookEvent.Status.DEAD: "bad",
}
MAX_PRETTY_LENGTH = 50_000  # indents of deep nesting grow with the square of the depth


class ReplayInline(ReadOnly, admin.TabularInline):  # type: ignore[type-arg]
    model = WebhookReplay
    fields = ("at", "by", "outcome", "error")
    extra = 0

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # for all who may view the webhook


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnly, KeysetAdmin):
    list_display = ("received", "state", "type", "product_id", "attempts", "shortened_id", "shortened_error")
    actions = ("replay",)
    inlines = (ReplayInline,)
    fieldsets = (
        (None, {"fields": ("webhook_id", "source", "type", "product_id", "state", "attempts", "error")}),
        ("When", {"fields": ("received_at", "attempted_at")}),
        ("Delivery", {"fields": ("pretty_headers", "pretty_payload")}),
    )

    def index_facts(self, request: HttpRequest) -> list[Fact]:
        url = reverse("admin:integrations_webhookevent_changelist")
        return [
            Fact(f"{count} {status}", f"{url}?status={status}", "good" if count == "0" else tone)
            for status, tone in ((WebhookEvent.Status.FAILED, "warn"), (WebhookEvent.Status.DEAD, "bad"))
            for count in [bounded_count(WebhookEvent.objects.filter(status=status).order_by())]
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("payload", "headers")

    def read_list(self, request: HttpRequest) -> KeysetList:
        return read_list(request.GET)

    @admin.display(description="received")
    def received(self, event: WebhookEvent) -> str:
        return date_format(timezone.localtime(event.received_at), "j M Y H:i:s")

    @admin.display(description="status")
    def state(self, event: WebhookEvent) -> str:
        return badge(event.get_status_display(), TONES.get(event.status, "quiet"))

    @admin.display(description="id")
    def shortened_id(self, event: WebhookEvent) -> str:
        return Truncator(event.webhook_id).chars(SHORT_LENGTH)

    @admin.display(description="error")
    def shortened_error(self, event: WebhookEvent) -> str:
        return Truncator(event.error).chars(2 * SHORT_LENGTH)

    @admin.display(description="headers")
    def pretty_headers(self, event: WebhookEvent) -> str:
        return _preformatted("\n".join(f"{name}: {value}" for name, value in event.headers.items()))

    @admin.display(description="payload")
    def pretty_payload(self, event: WebhookEvent) -> str:
        return _preformatted(pretty(bytes(event.payload)))

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("integrations.replay_webhookevent")

    @admin.action(description="Replay selected webhooks", permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        if is_across_pages(request):
            form = LogForm(request.GET)
            if not form.is_valid():
                raise BadRequest("The filters are not valid.")
            wanted = query_of(form.filters())
        else:
            wanted = query_of_ids(queryset.order_by().values_list("pk", flat=True))
        return lead_to(request, steps.start(REPLAY, request.user.get_username(), filter=wanted))


def pretty(payload: bytes) -> str:
    """Indented JSON; the text itself if it is not JSON, or too long.

    Python rewrites some numbers, such as 1.50, and keeps the last of repeated members.
    """
    text = payload.decode(errors="backslashreplace")
    if len(payload) > MAX_PRETTY_LENGTH:
        return text
    try:
        indented = json.dumps(json.loads(payload), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
    return text if len(indented) > MAX_PRETTY_LENGTH else indented.encode(errors="backslashreplace").decode()


def _preformatted(text: str) -> str:
    return format_html('<pre class="preformatted">{}</pre>', text)
