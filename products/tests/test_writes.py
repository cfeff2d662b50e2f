"""POST, PATCH and DELETE: what they do, who may, and what they refuse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from dev.testing.offers import make_farm, make_offer
from dev.testing.staff import CSRF_TOKEN, make_staff, product_body, session_headers
from products.models import Category, Product

if TYPE_CHECKING:
    from django.http import HttpResponse

pytestmark = pytest.mark.django_db

MAX_INTEGER = 2**31 - 1


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_staff())
    return client


def post(client: Client, body: Any, **headers: str) -> Any:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    # By name: the test client leaves the type out where the body is empty.
    return client.generic("POST", "/products", text, headers=headers, CONTENT_TYPE="application/json")


def patch(client: Client, product: Product, body: Any, **headers: str) -> Any:
    return client.patch(f"/products/{product.pk}", body, "application/json", headers=headers)


def pointers(response: Any) -> set[str]:
    assert response.status_code == 400, response.content
    assert response.json()["code"] == "invalid-parameter"
    return {error["pointer"] for error in response.json()["errors"]}


def test_post_creates_and_returns_the_product(staff: Client) -> None:
    farm = make_farm(district="erode")
    members = {"description": "Sun-dried.", "variety": "Erode Local", "unit": "quintal", "stock": 7, "organic": True}
    response = post(
        staff, product_body(farm=farm.pk, name="Erode Turmeric", commodity="turmeric", price="210.5", **members)
    )
    assert response.status_code == 201
    document = response.json()
    assert response["Location"] == f"http://testserver/products/{document['id']}"
    assert response["Cache-Control"] == "no-store"
    read = staff.get(response["Location"])
    assert read.content == response.content
    assert read["ETag"] == response["ETag"]
    assert document | {"id": 0, "created_at": "", "updated_at": ""} == {
        "id": 0,
        "name": "Erode Turmeric",
        "slug": "erode-turmeric",
        "description": "Sun-dried.",
        "category": {"slug": "spices", "name": "Spices"},
        "commodity": {"slug": "turmeric", "name": "Turmeric"},
        "variety": "Erode Local",
        "grade": "A",
        "farm": {"id": farm.pk, "name": farm.name},
        "district": {"slug": "erode", "name": "Erode"},
        "state": {"slug": "tamil-nadu", "name": "Tamil Nadu"},
        "price": "210.50",
        "currency": "INR",
        "unit": "quintal",
        "stock": 7,
        "in_stock": True,
        "organic": True,
        "created_at": "",
        "updated_at": "",
    }


def test_omitted_members_have_defaults(staff: Client) -> None:
    document = post(staff, product_body()).json()
    members = ("description", "variety", "unit", "stock", "in_stock", "organic")
    assert [document[name] for name in members] == ["", "", "kg", 0, False, False]


def test_patch_changes_only_its_members(staff: Client) -> None:
    product = make_offer(stock=10)
    response = patch(staff, product, {"price": "45", "commodity": "onion"})
    assert response.status_code == 200
    document = response.json()
    assert (document["price"], document["stock"]) == ("45.00", 10)
    assert document["category"]["slug"] == "vegetables"
    assert response["Cache-Control"] == "no-store"
    read = staff.get(f"/products/{product.pk}")
    assert (read.content, read["ETag"]) == (response.content, response["ETag"])


@pytest.mark.parametrize("body", [{}, {"stock": 10}, {"price": "120.00", "name": "  Alphonso Mango, Grade A "}])
def test_patch_with_equal_values_keeps_the_version(staff: Client, body: dict[str, Any]) -> None:
    product = make_offer()
    before = staff.get(f"/products/{product.pk}")
    response = patch(staff, product, body)
    assert (response.status_code, response.content) == (200, before.content)
    assert Product.objects.get().version == 1


def test_delete_withdraws_the_product(staff: Client) -> None:
    product = make_offer()
    response = staff.delete(f"/products/{product.pk}")
    assert (response.status_code, response.content) == (204, b"")
    assert response["Cache-Control"] == "no-store"
    assert not Product.objects.get().is_active
    assert staff.get("/products").json()["results"] == []
    for again in (staff.delete(f"/products/{product.pk}"), patch(staff, product, {"stock": 1})):
        assert (again.status_code, again.json()["code"]) == (404, "not-found")
    assert Product.objects.get().version == 2


def test_next_listing_shows_a_write(staff: Client) -> None:
    def listed() -> list[str]:
        return [product["price"] for product in staff.get("/products").json()["results"]]

    assert listed() == []
    product = Product.objects.get(pk=post(staff, product_body(price="5")).json()["id"])
    assert listed() == ["5.00"]
    patch(staff, product, {"price": "6"})
    assert listed() == ["6.00"]


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_if_match_of_another_version_refuses_a_write(staff: Client, method: str) -> None:
    product = make_offer()
    url = f"/products/{product.pk}"
    etag = staff.get(url)["ETag"]

    def write(if_match: str) -> HttpResponse:
        body = '{"stock": 99}' if method == "PATCH" else ""
        headers = {"If-Match": if_match}
        return staff.generic(method, url, body, "application/json", headers=headers)  # type: ignore[return-value]

    for header in (f"W/{etag}", '"other"', f'W/{etag}, "other"'):
        assert write(header).status_code == 412
    refused = write('"other"')
    assert json.loads(refused.content)["code"] == "precondition-failed"
    for header in ("", "x", f"{etag}x", f"*, {etag}"):
        malformed = write(header)
        assert malformed.status_code == 400
        assert json.loads(malformed.content)["errors"][0]["header"] == "If-Match"
    assert Product.objects.get().version == 1
    assert write(f'"other", {etag}').status_code in {200, 204}
    assert Product.objects.get().version == 2
    assert write(etag).status_code == (412 if method == "PATCH" else 404)


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_matching_if_none_match_refuses_a_write(staff: Client, method: str) -> None:
    product = make_offer()
    url = f"/products/{product.pk}"
    etag = staff.get(url)["ETag"]

    def write(url: str = url, **conditions: str) -> HttpResponse:
        body = '{"stock": 99}' if method == "PATCH" else ""
        headers = {name.replace("_", "-"): value for name, value in conditions.items()}
        return staff.generic(method, url, body, "application/json", headers=headers)  # type: ignore[return-value]

    for header in ("*", etag, f"W/{etag}", f'"other", {etag}'):
        refused = write(If_None_Match=header)
        assert (refused.status_code, json.loads(refused.content)["code"]) == (412, "precondition-failed")
    for if_match in ("*", '"other"'):
        malformed = write(If_Match=if_match, If_None_Match="x")
        assert json.loads(malformed.content)["errors"][0]["header"] == "If-None-Match"
    assert b"If-Match" in write(If_Match='"other"', If_None_Match="*").content
    assert b"If-None-Match" in write(If_Match=etag, If_None_Match="*").content
    assert write("/products/1234567890123", If_None_Match="*").status_code == 404
    assert Product.objects.get().version == 1
    assert write(If_Match=etag, If_None_Match='"other"').status_code in {200, 204}


def test_if_match_star_allows_any_existing_product(staff: Client) -> None:
    product = make_offer()
    assert patch(staff, product, {"stock": 1}, **{"If-Match": "*"}).status_code == 200
    assert staff.delete("/products/1234567890123", headers={"If-Match": "*"}).status_code == 404


BAD_MEMBERS: list[tuple[str, list[Any]]] = [
    ("name", ["", "   ", None, 5, True, ["x"], {}, "x" * 201, "a\0b", "\ud800", "!!!", "🥭", "__"]),
    ("description", [None, 5, "x" * 10_001, "a\0b", "a\udfff"]),
    ("commodity", ["", None, 5, "no-such", "Mango", "mango\0", "\ud800", "m" * 121, ["mango"], "mango'--"]),
    ("variety", [None, 1.5, "x" * 101, "\0"]),
    ("grade", ["", None, "D", "a", "AA", 1, ["A"], True, "\ud800"]),
    ("farm", [None, "1", 0, -1, 2**63, 10**40, 1.0, True, [1], {"id": 1}]),
    ("price", ["", None, 45, 45.0, "0", "0.00", "0.001", "45.001", "-1", "+1", " 45", "45 ", "1e2", "NaN", "Infinity"]),
    ("price", ["100000000", "1,5", "٤٥", "45.", ".5", True, ["45"], "9" * 5000, "45\n"]),
    ("unit", ["", None, "ton", "KG", 1]),
    ("stock", [None, "5", -1, MAX_INTEGER + 1, 10**40, 1.0, 1e3, True, [5]]),
    ("organic", [None, "true", 1, 0, "yes", [], "\ud800"]),
    ("price/currency~", ["INR"]),
    ("is_active", [False]),
    ("id", [1]),
    ("\ud800\0", [1]),
]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD_MEMBERS for value in values])
def test_invalid_member_is_400_and_named(staff: Client, name: str, value: Any) -> None:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1").replace("\ud800", "?")
    assert pointers(post(staff, product_body(**{name: value}))) == {pointer}
    product = make_offer()
    assert pointers(patch(staff, product, {name: value})) == {pointer}
    assert Product.objects.get().version == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("price", price) for price in ["0.01", "1", "00000045.5", "99999999.99"]),
        *(("stock", stock) for stock in [0, MAX_INTEGER]),
        *(("name", name) for name in ["x" * 200, "हापुस आम", "7", "🥭 Mango", "'; DROP TABLE"]),
        *(("description", text) for text in ["", "x" * 10_000, "🥭\n\t"]),
    ],
)
def test_extreme_values_are_accepted(staff: Client, name: str, value: Any) -> None:
    response = post(staff, product_body(**{name: value}))
    assert response.status_code == 201, response.content


def test_all_errors_are_reported_with_the_allowed_values(staff: Client) -> None:
    response = post(staff, {"name": "", "grade": "D", "colour": "red", "stock": -1})
    assert pointers(response) == {"/name", "/grade", "/colour", "/stock", "/commodity", "/farm", "/price"}
    errors = {error["pointer"]: error for error in response.json()["errors"]}
    assert errors["/grade"]["allowed"] == ["A", "B", "C"]
    assert "price" in errors["/colour"]["allowed"]
    assert errors["/farm"]["detail"] == "is required."
    assert errors["/stock"]["detail"] == "must be 0 or more."


def test_repeated_member_is_400(staff: Client) -> None:
    body = json.dumps(product_body())[:-1] + ', "price": "1", "price": "2"}'
    assert pointers(post(staff, body)) == {"/price"}


def test_a_thousand_unknown_members_get_a_short_answer(staff: Client) -> None:
    response = post(staff, {"x" * 500 + str(n): n for n in range(1000)})
    assert response.status_code == 400
    assert len(response.content) < 10_000


@pytest.mark.parametrize("body", ["[]", "null", "5", '"x"', "true", "[{}]"])
def test_body_that_is_not_an_object_is_400(staff: Client, body: str) -> None:
    assert pointers(post(staff, body)) == {""}


@pytest.mark.parametrize(
    "body",
    [
        *("", " ", "{", "{}{}", "{'a': 1}", '{"price": NaN}', '{"price": -Infinity}', "\ufeff{}", "[" * 100_000),
        *('{"stock": ' + "9" * 5000 + "}", b'{"name": "\xff"}', json.dumps({}).encode("utf-16"), '{"name": "a\nb"}'),
    ],
)
def test_malformed_json_is_400(staff: Client, body: str | bytes) -> None:
    response = post(staff, body)
    assert (response.status_code, response.json()["code"]) == (400, "bad-request")
    assert "sys." not in response.json()["detail"]


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_other_media_types_are_415(staff: Client, media_type: str) -> None:
    product = make_offer()
    for response in (
        staff.generic("POST", "/products", json.dumps(product_body()), media_type),
        staff.generic("PATCH", f"/products/{product.pk}", "{}", media_type),
        staff.generic("PATCH", f"/products/{product.pk}", "", media_type),
    ):
        assert (response.status_code, json.loads(response.content)["code"]) == (415, "unsupported-media-type")
    assert post(staff, product_body()).status_code == 201
    capital = staff.generic("POST", "/products", json.dumps(product_body()), "Application/JSON ;charset=UTF-8")
    assert capital.status_code == 201


def test_query_parameters_are_400(staff: Client) -> None:
    product = make_offer()
    url = f"/products/{product.pk}?dry_run=1"
    answers = [
        staff.generic("POST", "/products?dry_run=1", json.dumps(product_body()), "application/json"),
        staff.generic("PATCH", url, "{}", "application/json"),
        staff.delete(url),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 400]
    assert Product.objects.get().is_active


@pytest.mark.parametrize("pk", ["0", "999999999999999999", "9" * 19, "abc"])
def test_write_to_an_unknown_product_is_404(staff: Client, pk: str) -> None:
    assert staff.patch(f"/products/{pk}", {"stock": 1}, "application/json").status_code == 404
    assert staff.delete(f"/products/{pk}").status_code == 404


def write_as(client: Client, product: Product, **headers: str) -> list[Any]:
    return [
        post(client, product_body(), **headers),
        patch(client, product, {"stock": 99}, **headers),
        client.delete(f"/products/{product.pk}", headers=headers),
    ]


def test_anonymous_writes_are_401_whatever_they_send(client: Client) -> None:
    product = make_offer()
    for response in (*write_as(client, product), post(client, "{"), client.delete("/products/999")):
        assert (response.status_code, response.json()["code"]) == (401, "not-authenticated")
        assert response["WWW-Authenticate"] == 'Bearer realm="farmlokal"'
    assert Product.objects.get().version == 1


def test_users_without_the_permission_are_403(client: Client) -> None:
    product = make_offer()
    customer = make_staff("add_product", "change_product", name="customer")
    customer.is_staff = False
    customer.save()
    for user in (customer, make_staff("view_product", "delete_product", name="viewer")):
        client.force_login(user)
        for response in write_as(client, product):
            assert (response.status_code, response.json()["code"]) == (403, "permission-denied")
    client.force_login(make_staff("add_product", name="adder"))
    assert [response.status_code for response in write_as(client, product)] == [201, 403, 403]
    client.force_login(make_staff("change_product", name="changer"))
    assert [response.status_code for response in write_as(client, product)] == [403, 200, 204]


def test_session_without_csrf_token_is_403(client: Client) -> None:
    """Another site's form would come with the cookie, but not with the token."""
    product = make_offer()
    browser = Client(enforce_csrf_checks=True)
    headers = session_headers(make_staff())
    without = {name: value for name, value in headers.items() if name != "X-CSRFToken"}
    for response in write_as(browser, product, **without):
        assert (response.status_code, response.json()["code"]) == (403, "permission-denied")
    for response in write_as(browser, product, **without, **{"X-CSRFToken": CSRF_TOKEN[::-1].replace("c", "d")}):
        assert response.status_code == 403
    assert [response.status_code for response in write_as(browser, product, **headers)] == [201, 200, 204]


def test_inactive_user_is_401(client: Client) -> None:
    user = make_staff()
    client.force_login(user)
    user.is_active = False
    user.save()
    assert post(client, product_body()).status_code == 401


def test_derived_fields_in_the_body_are_400(staff: Client) -> None:
    for name in ("category", "district", "state", "slug", "version", "created_at"):
        assert pointers(post(staff, product_body(**{name: Category.objects.earliest("pk").slug}))) == {f"/{name}"}
