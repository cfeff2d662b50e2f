"""A POST with an Idempotency-Key creates one product, however often it is sent."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks

from dev.testing.offers import make_farm
from dev.testing.staff import make_staff, product_body
from products.idempotency import PURGE_ROWS, key_in
from products.models import IdempotencyKey, Product

pytestmark = pytest.mark.django_db


def post(client: Client, body: dict[str, Any], key: str) -> Any:
    return client.post("/products", body, "application/json", headers={"Idempotency-Key": key})


def make_older(key: str, **span: int) -> None:
    IdempotencyKey.objects.filter(key=key).update(created_at=timezone.now() - dt.timedelta(**span))


def test_first_answer_is_replayed_byte_for_byte(staff: Client) -> None:
    body = product_body()
    first = post(staff, body, "k1")
    assert first.status_code == 201
    assert "Idempotent-Replayed" not in first
    Product.objects.update(price=1, is_active=False)
    again = post(staff, body, "k1")
    assert (again.status_code, again.content) == (201, first.content)
    assert again["Idempotent-Replayed"] == "true"
    for name in ("Location", "ETag", "Content-Type", "Cache-Control", "Content-Length"):
        assert again[name] == first[name]
    assert Product.objects.count() == 1


def test_equal_body_with_other_spelling_is_replayed(staff: Client) -> None:
    body = product_body(stock=1)
    post(staff, body, "k1")
    respelled = json.dumps(dict(reversed(body.items())), indent=2)
    again = staff.post("/products", respelled, "application/json", headers={"Idempotency-Key": "k1"})
    assert again["Idempotent-Replayed"] == "true"


def test_same_key_with_another_body_is_422(staff: Client) -> None:
    body = product_body()
    post(staff, body, "k1")
    for other_body in (body | {"price": "1"}, body | {"stock": 0}):
        response = post(staff, other_body, "k1")
        assert (response.status_code, response.json()["code"]) == (422, "idempotency-mismatch")
        assert response.json()["errors"][0]["header"] == "Idempotency-Key"
    assert Product.objects.count() == 1


def test_without_the_same_key_another_product_is_created(staff: Client) -> None:
    body = product_body()
    post(staff, body, "k1")
    assert staff.post("/products", body, "application/json").status_code == 201
    for key in ("k2", "K1", "k1.", "k"):
        assert "Idempotent-Replayed" not in post(staff, body, key)
    assert Product.objects.count() == 6


def test_key_belongs_to_its_caller(staff: Client, client: Client) -> None:
    body = product_body()
    post(staff, body, "k1")
    client.force_login(make_staff(name="another"))
    assert "Idempotent-Replayed" not in post(client, body, "k1")
    assert Product.objects.count() == 2


def test_refused_request_does_not_use_up_its_key(staff: Client) -> None:
    body = product_body()
    assert post(staff, body | {"price": "x"}, "k1").status_code == 400
    assert not IdempotencyKey.objects.exists()
    assert post(staff, body, "k1").status_code == 201


def test_key_expires_after_24_hours(staff: Client) -> None:
    body = product_body()
    post(staff, body, "k1")
    make_older("k1", hours=23, minutes=59)
    assert post(staff, body, "k1")["Idempotent-Replayed"] == "true"
    make_older("k1", hours=24, seconds=1)
    second = post(staff, body | {"price": "1"}, "k1")
    assert (second.status_code, "Idempotent-Replayed" in second) == (201, False)
    assert IdempotencyKey.objects.count() == 1
    assert post(staff, body | {"price": "1"}, "k1").content == second.content
    assert Product.objects.count() == 2


def test_expired_keys_are_purged_a_few_per_request(
    staff: Client, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    old = timezone.now() - dt.timedelta(hours=25)
    IdempotencyKey.objects.bulk_create(
        IdempotencyKey(caller="user:1", key=f"{n}", created_at=old + dt.timedelta(seconds=n)) for n in range(25)
    )
    with django_capture_on_commit_callbacks(execute=True):
        post(staff, product_body(), "k1")
    remaining = IdempotencyKey.objects.filter(caller="user:1").order_by("created_at")
    assert [row.key for row in remaining] == [f"{n}" for n in range(PURGE_ROWS, 25)]
    with django_capture_on_commit_callbacks(execute=True):
        post(staff, product_body(), "k1")  # a replay or a mismatch stores nothing, so it purges nothing
    assert remaining.all().count() == 25 - PURGE_ROWS


@pytest.mark.parametrize(
    ("header", "key"),
    [
        *(("a", "a"), ("x" * 255, "x" * 255), ("a b", "a b"), ("8e03978e-40d5-43dd-bc93-6894a57f9324",) * 2),
        *(('"a"', "a"), ('"a \\"b\\" \\\\"', 'a "b" \\'), ('"' + "x" * 255 + '"', "x" * 255), ("a'%_\\", "a'%_\\")),
    ],
)
def test_valid_keys_are_accepted(staff: Client, header: str, key: str) -> None:
    body = product_body()
    assert key_in({"Idempotency-Key": header}) == key
    first = post(staff, body, header)
    assert first.status_code == 201
    assert post(staff, body, header).content == first.content
    assert IdempotencyKey.objects.get().key == key


@pytest.mark.parametrize(
    "header", ["", " ", "x" * 256, "é", "a\tb", "\0", '""', '"a', '"a" b', '"a "', '"\\x"', '"a\\"']
)
def test_invalid_keys_are_400(staff: Client, header: str) -> None:
    response = post(staff, product_body(), header)
    assert (response.status_code, response.json()["code"]) == (400, "bad-request")
    assert response.json()["errors"][0]["header"] == "Idempotency-Key"
    assert not Product.objects.exists()


def test_patch_ignores_the_header(staff: Client) -> None:
    product = post(staff, product_body(farm=make_farm().pk), "k1").json()
    response = staff.patch(
        f"/products/{product['id']}", {"stock": 1}, "application/json", headers={"Idempotency-Key": ""}
    )
    assert response.status_code == 200
