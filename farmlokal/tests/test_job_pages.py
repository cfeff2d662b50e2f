"""The pages of jobs: who may see them, and who may drive them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dev.testing.offers import make_offers
from dev.testing.staff import make_staff
from farmlokal.jobs import registry, steps
from farmlokal.jobs.models import Job, JobFailure
from products.models import Product

pytestmark = pytest.mark.django_db

LIST_URL = "/admin/farmlokal/job/"
JSON = {"Accept": "application/json"}


def start() -> Job:
    make_offers({"name": f"{n}"} for n in range(3))
    action = registry.find("product.stock")
    assert action
    return steps.start(action, "asha", parameters={"stock": "3"})


def url_of(job: Job, name: str = "change") -> str:
    return reverse(f"admin:farmlokal_job_{name}", args=[job.pk])


def log_in(client: Client, *permissions: str) -> Client:
    client.force_login(make_staff(*permissions))
    return client


def abandon(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(updated_at=timezone.now() - dt.timedelta(minutes=5))


def test_page_shows_numbers_and_buttons(admin_client: Client) -> None:
    job = start()
    page = admin_client.get(url_of(job)).content.decode()
    assert "Set stock to 3" in page
    assert "data-advance-url" in page
    assert ">Stop<" in page
    assert ">Continue<" in page  # without JavaScript
    assert 'max="3" value="0"' in page


def test_page_has_neither_inline_script_nor_style(admin_client: Client) -> None:
    page = admin_client.get(url_of(start())).content.decode()
    assert "style=" not in page
    assert "<style" not in page
    assert "<script>" not in page


def test_open_page_drives_the_job(admin_client: Client) -> None:
    job = start()
    answer = admin_client.post(url_of(job, "advance"), headers=JSON).json()
    assert answer == {
        "status": "finished",
        "done": 3,
        "changed": 3,
        "unchanged": 0,
        "failed": 0,
        "total": 3,
        "total_text": "3",
        "error": "",
        "is_driving": False,
    }
    assert Product.objects.filter(stock=3).count() == 3


def test_continue_button_drives_the_job_without_javascript(admin_client: Client) -> None:
    job = start()
    assert admin_client.post(url_of(job, "advance"))["Location"] == url_of(job)
    assert Job.objects.get().status == "finished"


def test_job_is_stopped_and_resumed(admin_client: Client) -> None:
    job = start()
    admin_client.post(url_of(job, "stop"))
    assert Job.objects.get().status == "stopped"
    assert admin_client.post(url_of(job, "advance"), headers=JSON).json()["done"] == 0
    page = admin_client.get(url_of(job)).content.decode()
    assert ">Resume<" in page
    assert ">Stop<" not in page
    admin_client.post(url_of(job, "resume"))
    assert Job.objects.get().status == "running"


def test_viewer_sees_numbers_but_no_buttons(client: Client) -> None:
    job = start()
    page = log_in(client, "view_job").get(url_of(job)).content.decode()
    assert "Set stock to 3" in page
    assert "data-advance-url" not in page
    assert ">Stop<" not in page
    assert client.get(url_of(job, "progress")).json()["done"] == 0
    for name in ("advance", "stop", "resume"):
        assert client.post(url_of(job, name)).status_code == 403
    assert Job.objects.get().status == "running"
    assert not Product.objects.filter(stock=3).exists()


def test_permission_of_the_action_alone_shows_no_jobs(client: Client) -> None:
    job = start()
    log_in(client, "change_product")
    for url in (LIST_URL, url_of(job), url_of(job, "progress")):
        assert client.get(url).status_code == 403
    assert client.post(url_of(job, "advance")).status_code == 403


def test_permission_of_the_action_lets_a_viewer_drive(client: Client) -> None:
    job = start()
    log_in(client, "view_job", "change_product").post(url_of(job, "advance"))
    assert Job.objects.get().status == "finished"


def test_jobs_are_neither_added_nor_changed_nor_deleted_by_form(admin_client: Client) -> None:
    job = start()
    assert admin_client.get(f"{LIST_URL}add/").status_code == 403
    admin_client.post(url_of(job), {"by": "nobody", "done": 7})
    assert admin_client.post(f"{LIST_URL}{job.pk}/delete/", {"post": "yes"}).status_code == 403
    assert (Job.objects.get().by, Job.objects.get().done) == ("asha", 0)


def test_unknown_job_is_not_found(admin_client: Client) -> None:
    assert admin_client.get(f"{LIST_URL}999/change/")["Location"] == "/admin/"
    assert admin_client.post(f"{LIST_URL}999/advance/").status_code == 404
    assert admin_client.get(f"{LIST_URL}{'9' * 30}/progress/").status_code == 404


def test_job_of_another_release_has_no_buttons(admin_client: Client) -> None:
    job = start()
    Job.objects.update(action="test.newer")
    assert "data-advance-url" not in admin_client.get(url_of(job)).content.decode()


def test_failures_are_listed_in_pages(admin_client: Client) -> None:
    job = start()
    JobFailure.objects.bulk_create(JobFailure(job=job, key=f"Product {n}", reason="wrong") for n in range(150))
    page = admin_client.get(url_of(job)).content.decode()
    assert "Product 99<" in page
    assert "Product 100<" not in page
    (after,) = [failure.pk for failure in job.failures.filter(key="Product 99")]
    assert f'href="?failures_after={after}"' in page
    page = admin_client.get(url_of(job), {"failures_after": after}).content.decode()
    assert "Product 149<" in page
    assert "More failures" not in page


@pytest.mark.parametrize("after", ["x", "-1", "9" * 30, "²"])
def test_bad_position_in_the_failures_is_ignored(admin_client: Client, after: str) -> None:
    assert admin_client.get(url_of(start()), {"failures_after": after}).status_code == 200


def is_mentioned(client: Client, url: str) -> bool:
    return "unfinished: open to continue" in client.get(url).content.decode()


def test_unattended_job_is_mentioned_on_list_and_front_page(client: Client, admin_client: Client) -> None:
    job = start()
    for url in ("/admin/", LIST_URL):
        assert not is_mentioned(admin_client, url)
        abandon(job)
        assert is_mentioned(admin_client, url)
        Job.objects.filter(pk=job.pk).update(updated_at=timezone.now())
    abandon(job)
    assert not is_mentioned(log_in(client, "change_product"), "/admin/")
    steps.stop(job.pk)
    assert not is_mentioned(admin_client, "/admin/")


def test_list_costs_few_statements(admin_client: Client, django_assert_max_num_queries: Any) -> None:
    job = start()
    Job.objects.bulk_create(Job(action=job.action, parameters=job.parameters, by="asha") for _ in range(50))
    with django_assert_max_num_queries(8):
        admin_client.get(LIST_URL)
