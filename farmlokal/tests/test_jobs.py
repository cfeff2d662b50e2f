"""The steps of a job: what a step saves, and what it does after each kind of error."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import OperationalError
from django.utils import timezone

from accounts.models import ApiClient
from dev.testing.jobs import finish
from farmlokal.acting import current_actor
from farmlokal.counts import Total
from farmlokal.jobs import registry, steps
from farmlokal.jobs.actions import ItemAction, Taken
from farmlokal.jobs.models import Job
from farmlokal.jobs.progress import title_of
from farmlokal.jobs.pruning import delete_old_jobs

pytestmark = pytest.mark.django_db


class Rename(ItemAction):
    """Renames API clients to their names in capitals. Some names raise errors."""

    name = "test.rename"
    title = "Rename clients"
    errors: dict[str, Exception]

    def __init__(self) -> None:
        self.errors = {}
        self.applied: list[str] = []
        self.actors: set[str] = set()

    def count(self, job: Job) -> Total:
        return Total(ApiClient.objects.count(), is_exact=True)

    def take(self, job: Job, count: int) -> Taken:
        if error := self.errors.get("take"):
            raise error
        pks = list(ApiClient.objects.filter(pk__gt=job.cursor or 0).order_by("pk").values_list("pk", flat=True)[:count])
        return Taken(pks, pks[-1] if pks else job.cursor, is_last=len(pks) < count)

    def lock(self, job: Job, items: Sequence[int]) -> list[tuple[int, ApiClient]]:
        return [(row.pk, row) for row in ApiClient.objects.select_for_update().filter(pk__in=items).order_by("pk")]

    def apply_one(self, row: ApiClient, prepared: Any) -> bool:
        old, row.name = row.name, row.name.upper()
        row.save()
        self.applied.append(old)
        self.actors.add(current_actor())
        if error := self.errors.get(old):
            raise error
        return row.name != old


@pytest.fixture
def rename(monkeypatch: pytest.MonkeyPatch) -> Rename:
    action = Rename()
    monkeypatch.setitem(registry._actions, action.name, action)
    return action


def start(action: Rename, count: int = 30) -> Job:
    ApiClient.objects.bulk_create(ApiClient(client_id=f"c{n}", name=f"client {n}") for n in range(count))
    return steps.start(action, "asha")


def names() -> list[str]:
    return list(ApiClient.objects.order_by("pk").values_list("name", flat=True))


def numbers(job: Job) -> tuple[int, int, int]:
    return job.done, job.changed, job.failed


def test_job_visits_each_item_once(rename: Rename) -> None:
    job = finish(start(rename))
    assert names() == [f"CLIENT {n}" for n in range(30)]
    assert rename.applied == [f"client {n}" for n in range(30)]
    assert (job.status, numbers(job), job.total) == ("finished", (30, 30, 0), 30)
    assert job.finished_at
    assert not steps.advance(job.pk)


def test_changes_are_made_in_the_name_of_the_job(rename: Rename) -> None:
    job = finish(start(rename, 3))
    assert rename.actors == {f"job {job.pk} of asha"}


@pytest.mark.parametrize("error", [ValidationError("is wrong."), ValidationError({"name": ["is wrong."]})])
def test_item_error_undoes_that_item_only(rename: Rename, error: Exception) -> None:
    rename.errors["client 7"] = error
    job = finish(start(rename))
    assert numbers(job) == (30, 29, 1)
    assert [name for name in names() if name.islower()] == ["client 7"]
    assert "is wrong." in job.failures.get().reason
    assert rename.applied.count("client 8") == 1


def test_unexpected_error_fails_its_item_and_is_logged_once(rename: Rename, caplog: pytest.LogCaptureFixture) -> None:
    rename.errors["client 7"] = RuntimeError("boom")
    job = finish(start(rename))
    assert numbers(job) == (30, 29, 1)
    assert [name for name in names() if name.islower()] == ["client 7"]
    assert job.failures.get().reason == "RuntimeError: boom"
    assert caplog.text.count("job_item_failed") == 1


def test_transient_error_leaves_the_job_as_it_was(rename: Rename) -> None:
    job = start(rename)
    rename.errors["client 7"] = OperationalError(1205, "Lock wait timeout")
    with pytest.raises(OperationalError):
        steps.advance(job.pk)
    job.refresh_from_db()
    assert (job.status, numbers(job), job.cursor) == ("running", (0, 0, 0), None)
    del rename.errors["client 7"]
    assert numbers(finish(job)) == (30, 30, 0)


def test_error_while_looking_for_items_fails_the_job(rename: Rename, caplog: pytest.LogCaptureFixture) -> None:
    job = start(rename)
    rename.errors["take"] = RuntimeError("boom")
    assert (finish(job).status, Job.objects.get().error) == ("failed", "RuntimeError: boom")
    assert "job_failed" in caplog.text


def test_failures_beyond_the_limit_are_only_counted(rename: Rename, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "MAX_FAILURES", 12)
    rename.errors = {f"client {n}": ValidationError("x" * 900) for n in range(20)}
    job = finish(start(rename))
    assert (numbers(job), job.failures.count()) == ((30, 10, 20), 12)


def test_stopped_job_goes_on_where_it_was_stopped(rename: Rename) -> None:
    job = start(rename)
    assert steps.advance(job.pk, 0)
    assert steps.stop(job.pk)
    assert not steps.advance(job.pk)
    assert names()[steps.FIRST_ITEMS] == f"client {steps.FIRST_ITEMS}"
    assert not steps.stop(job.pk)
    assert steps.resume(job.pk)
    assert numbers(finish(job)) == (30, 30, 0)
    assert len(rename.applied) == 30


def test_step_that_another_process_has_done_is_dropped(rename: Rename) -> None:
    job = start(rename)
    stale = Job.objects.get(pk=job.pk)
    assert steps.advance(job.pk, 0)
    assert not steps._step(stale, rename, 5)
    assert len(rename.applied) == steps.FIRST_ITEMS


def test_action_of_another_release_is_left_alone(rename: Rename) -> None:
    job = start(rename)
    Job.objects.filter(pk=job.pk).update(action="test.newer")
    assert not steps.advance(job.pk)
    job.refresh_from_db()
    assert job.is_running


def test_two_actions_of_one_name_are_refused(rename: Rename) -> None:
    class Other(Rename):
        pass

    registry.register(Rename())
    with pytest.raises(ValueError, match=r"test\.rename"):
        registry.register(Other())


@pytest.mark.parametrize(("step_seconds", "sizes"), [(1000.0, [10, 20, 25, 25]), (0.0, [10, 1, 1, 1])])
def test_size_of_a_step_follows_its_duration(
    rename: Rename, monkeypatch: pytest.MonkeyPatch, step_seconds: float, sizes: list[int]
) -> None:
    taken: list[int] = []

    def take(job: Job, count: int) -> Taken:
        taken.append(count)
        return Rename.take(rename, job, count)

    monkeypatch.setattr(steps, "STEP_SECONDS", step_seconds)
    monkeypatch.setattr(rename, "take", take)
    monkeypatch.setattr(Rename, "max_items", 25)
    steps.advance(start(rename, 100).pk, seconds=1000)
    assert taken[:4] == sizes


def test_jobs_are_deleted_90_days_after_their_end() -> None:
    now = timezone.now()
    old, young, stopped = (Job.objects.create(action="test.rename", by="asha") for _ in range(3))
    old.failures.create(key="1", reason="refused")
    Job.objects.filter(pk=old.pk).update(status="finished", finished_at=now - dt.timedelta(days=90, minutes=1))
    Job.objects.filter(pk=young.pk).update(status="finished", finished_at=now - dt.timedelta(days=89))
    Job.objects.filter(pk=stopped.pk).update(status="stopped", created_at=now - dt.timedelta(days=900))
    assert list(delete_old_jobs()) == [1]
    assert list(Job.objects.order_by("pk")) == [young, stopped]


def test_job_with_unknown_parameters_has_a_title() -> None:
    assert title_of(Job(action="product.price_percent", parameters={}, by="asha")) == "Change prices by percent"
    assert title_of(Job(action="product.price_percent", parameters={"percent": "x"}, by="asha"))
