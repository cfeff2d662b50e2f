"""The security headers of every response. This is the only list: Django, the edge and the HTTP server use it."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from farmlokal import routes

CSP = "Content-Security-Policy"
CORP = "Cross-Origin-Resource-Policy"
HSTS = "Strict-Transport-Security"
# Nothing inline, and nothing from other hosts.
STRICT = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# Redoc inserts style elements by script: empty ones, which it fills by insertRule(), and one with the rules of its
# scroll bars. Both may change with a new version; test_content_security.py then fails, and the browser names the hash.
EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
SCROLL_BARS = "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"
SWAGGER = STRICT.replace("img-src 'self'", "img-src 'self' data:")
# Redoc's search runs in a worker from a blob: URL.
REDOC = SWAGGER.replace("style-src 'self'", f"style-src 'self' {EMPTY_STYLE} {SCROLL_BARS}") + "; worker-src blob:"
OTHER_POLICIES = {"/docs": SWAGGER, "/redoc": REDOC}

# As OWASP's REST Security Cheat Sheet advises: a browser that opens data as a page runs nothing in it.
OF_ALL = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"}
OF_DATA = OF_ALL | {CSP: "default-src 'none'; frame-ancestors 'none'"}
OF_PAGES = OF_ALL | {
    CSP: STRICT,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
}
HSTS_SECONDS = 365 * 24 * 3600
NAMES = {CORP, HSTS, *OF_DATA, *OF_PAGES}


def security_headers(path: str, content_type: str, *, is_secure: bool) -> dict[str, str]:
    """is_secure: the request came over TLS, at a trusted proxy."""
    headers = dict(OF_PAGES if content_type.startswith("text/html") else OF_DATA)
    if policy := OTHER_POLICIES.get(path):
        headers[CSP] = policy
    headers[CORP] = "cross-origin" if routes.find(path).is_cors_open else "same-origin"
    if is_secure:
        headers[HSTS] = f"max-age={HSTS_SECONDS}"
    return headers


class SecurityHeadersMiddleware:
    """Replaces Django's SecurityMiddleware and XFrameOptionsMiddleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        headers = security_headers(request.path, response.get("Content-Type", ""), is_secure=request.is_secure())
        if settings.DEBUG and response.status_code >= HTTPStatus.BAD_REQUEST:
            del headers[CSP]  # Django's debug page has inline scripts
        for name, value in headers.items():
            response.setdefault(name, value)
        return response
