"""Counts requests that the edge did not: all of them under plain WSGI, and those whose token only Django can check."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase

from farmlokal import routes
from farmlokal.http.problems import problem_response
from farmlokal.observability import metrics
from farmlokal.ratelimit.client_identity import client_of_request
from farmlokal.ratelimit.limiter import anonymous_policy, decide
from farmlokal.request_state import state_of


class RateLimitMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        state = state_of(request)
        policy, client = state.limited_as or (anonymous_policy(), client_of_request(request))
        if not policy or state.is_counted or not routes.find(request.path).is_rate_limited:
            return self.get_response(request)
        decision = decide(policy, client)
        if decision.is_refused:
            metrics.count_refusal(policy.name, client)
            response: HttpResponseBase = problem_response(request, "rate-limited", decision.detail)
            response["Retry-After"] = str(decision.retry_after)
        else:
            response = self.get_response(request)
        response["RateLimit-Policy"] = policy.header
        response["RateLimit"] = decision.header
        return response
