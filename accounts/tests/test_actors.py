"""The name under which a request writes. Threads of a pool serve one caller after the other."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from accounts.authentication import Caller, CallerMiddleware
from accounts.models import ApiClient, User
from farmlokal.acting import acting_as, current_actor
from farmlokal.request_state import state_of

SHOP = Caller(ApiClient(pk=1, client_id="shop", name="A shop"), frozenset())


def actor_of(request: HttpRequest) -> str:
    """The actor that a view of this request sees."""

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(current_actor())

    response = CallerMiddleware(view)(request)
    assert isinstance(response, HttpResponse)
    return response.content.decode()


def request_of(user: User | AnonymousUser | None = None, caller: Caller | None = None) -> HttpRequest:
    request = RequestFactory().post("/products")
    state_of(request).caller = caller
    if user:
        request.user = user
    return request


@pytest.mark.parametrize(
    ("user", "caller", "actor"),
    [
        (User(username="anna"), None, "anna"),
        (None, SHOP, "client A shop"),
        (User(username="anna"), SHOP, "client A shop"),  # as for views: the token counts
        (AnonymousUser(), None, "system"),
        (None, None, "system"),
    ],
)
def test_request_acts_as_its_caller(user: User | None, caller: Caller | None, actor: str) -> None:
    assert actor_of(request_of(user, caller)) == actor


def test_next_request_of_the_thread_starts_as_system() -> None:
    assert actor_of(request_of(User(username="anna"))) == "anna"
    assert current_actor() == "system"
    assert actor_of(request_of()) == "system"


def test_failed_request_leaves_no_actor() -> None:
    def fail(_: HttpRequest) -> HttpResponse:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        CallerMiddleware(fail)(request_of(User(username="anna")))
    assert current_actor() == "system"


def test_inner_actor_ends_with_its_block() -> None:
    with acting_as("anna"):
        with acting_as("partner"):
            assert current_actor() == "partner"
        assert current_actor() == "anna"
    assert current_actor() == "system"
