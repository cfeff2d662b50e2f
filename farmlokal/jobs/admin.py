"""The pages of jobs. An open page of a running job drives it, if its user may."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_GET, require_POST, require_safe

from farmlokal.admin.badges import Tone, badge
from farmlokal.admin.dashboard import Fact, bounded_count
from farmlokal.admin.model_admin import ReadOnly
from farmlokal.admin.window_admin import WindowAdmin
from farmlokal.jobs import registry, steps
from farmlokal.jobs.actions import Action
from farmlokal.jobs.models import MAX_FAILURES, Job
from farmlokal.jobs.progress import may_drive, progress_of, title_of

SHOWN_FAILURES = 100
DRIVE_SECONDS = 0.8  # below a second with the request around it
AFTER = "failures_after"
SAME_CLICK_SECONDS = 10
RECENT_JOBS = 20
TONES: dict[str, Tone] = {"running": "quiet", "stopped": "warn", "finished": "good", "failed": "bad"}


def page_of(job: Job) -> HttpResponseRedirect:
    return redirect("admin:farmlokal_job_change", job.pk)


def start_page_of(job: Job) -> HttpResponseRedirect:
    """Do the first steps of a new job at once, so that a small one has ended when its page opens.

    Do not call it in a transaction, which the steps would join.
    """
    steps.advance(job.pk, DRIVE_SECONDS)
    return page_of(job)


def start_once(request: HttpRequest, action: Action, **options: Any) -> Job:
    """As steps.start(). A second click of a button leads to the job of the first: +5 % must not happen twice."""
    by = request.user.get_username()
    with transaction.atomic():
        get_user_model().objects.select_for_update().get(pk=request.user.pk)  # two clicks of a user, one at a time
        since = timezone.now() - dt.timedelta(seconds=SAME_CLICK_SECONDS)
        wanted = (action.name, by, options.get("parameters") or {}, options.get("filter", ""))
        recent: Iterable[Job] = Job.objects.order_by("-pk")[:RECENT_JOBS]
        for job in recent:
            if job.created_at >= since and (job.action, job.by, job.parameters, job.filter) == wanted:
                return job
        return steps.start(action, by, **options)


def lead_to(request: HttpRequest, job: Job) -> HttpResponse | None:
    """As start_page_of(). For a user who may not view jobs: None, and a message."""
    response = start_page_of(job)
    if request.user.has_perm("farmlokal.view_job"):
        return response
    job.refresh_from_db()
    messages.info(request, f"{title_of(job)}: {job.status}, {job.done} done, {job.failed} failed.")
    return None


@admin.register(Job)
class JobAdmin(ReadOnly, WindowAdmin):
    list_display = ("title", "state", "done", "failed", "by", "created_at")
    list_filter = ("status",)
    ordering = ("-id",)

    def index_facts(self, request: HttpRequest) -> list[Fact]:
        if not Job.objects.unattended().exists():
            return []
        text = f"{bounded_count(Job.objects.unattended())} unfinished: open to continue"
        return [Fact(text, f"{reverse('admin:farmlokal_job_changelist')}?status__exact=running", "warn")]

    @admin.display(description="job")
    def title(self, job: Job) -> str:
        return f"{job.pk}: {title_of(job)}"

    @admin.display(description="status")
    def state(self, job: Job) -> str:
        if job.is_unattended:
            return badge("unfinished: open to continue", "warn")
        return badge(job.status, TONES[job.status])

    def get_urls(self) -> list[Any]:
        views = {"advance": self.advance_view, "stop": self.stop_view, "resume": self.resume_view}
        views["progress"] = self.progress_view
        return [
            *(
                path(f"<int:pk>/{name}/", self.admin_site.admin_view(view), name=f"farmlokal_job_{name}")
                for name, view in views.items()
            ),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        job: Job | None = self.get_object(request, object_id)
        if job is None:
            return super().change_view(request, object_id, form_url, extra_context)
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        after = request.GET.get(AFTER, "")
        failures = job.failures.filter(pk__gt=int(after[:18]) if after.isascii() and after.isdigit() else 0)
        shown = list(failures[: SHOWN_FAILURES + 1])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title_of(job),
            "job": job,
            "progress": progress_of(job),
            "tone": TONES[job.status],
            "may_drive": may_drive(request, job),
            "failures": shown[:SHOWN_FAILURES],
            "failures_after": shown[SHOWN_FAILURES - 1].pk if len(shown) > SHOWN_FAILURES else None,
            "unlisted_failures": max(0, job.failed - MAX_FAILURES),
        }
        action = registry.find(job.action)
        if action and action.result_template and job.is_finished:
            context |= {"result_template": action.result_template, **action.result(job, request.user)}
        return TemplateResponse(request, "admin/farmlokal/job/page.html", context)

    @method_decorator(require_GET)
    def progress_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        return JsonResponse(progress_of(self._job(request, pk)))

    @method_decorator(require_POST)
    def advance_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        job = self._job_to_drive(request, pk)
        is_driving = steps.advance(job.pk, DRIVE_SECONDS)
        job.refresh_from_db()
        if request.headers.get("Accept") == "application/json":
            return JsonResponse({**progress_of(job), "is_driving": is_driving})
        return page_of(job)

    @method_decorator(require_POST)
    def stop_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        job = self._job_to_drive(request, pk)
        steps.stop(job.pk)
        return page_of(job)

    @method_decorator(require_POST)
    def resume_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        job = self._job_to_drive(request, pk)
        steps.resume(job.pk)
        return page_of(job)

    def _job(self, request: HttpRequest, pk: int) -> Job:
        if not self.has_view_permission(request):
            raise PermissionDenied
        job: Job | None = Job.objects.filter(pk=pk).first()
        if job is None:
            raise Http404
        return job

    def _job_to_drive(self, request: HttpRequest, pk: int) -> Job:
        job = self._job(request, pk)
        if not may_drive(request, job):
            raise PermissionDenied
        return job
