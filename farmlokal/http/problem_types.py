"""The kinds of failure that the API reports, by code."""

from __future__ import annotations

from typing import NamedTuple


class ProblemType(NamedTuple):
    status: int
    title: str


PROBLEM_TYPES = {
    "invalid-parameter": ProblemType(400, "A parameter is not valid"),
    "cursor-invalid": ProblemType(400, "The cursor is not valid"),
    "bad-request": ProblemType(400, "The request is malformed"),
    "not-authenticated": ProblemType(401, "Credentials are missing or wrong"),
    "signature-invalid": ProblemType(401, "The signature is missing or wrong"),
    "permission-denied": ProblemType(403, "Not allowed"),
    "not-found": ProblemType(404, "Not found"),
    "method-not-allowed": ProblemType(405, "The method is not allowed here"),
    "idempotency-conflict": ProblemType(409, "The first request with this key is still running"),
    "webhook-in-progress": ProblemType(409, "The event is being processed right now"),
    "precondition-failed": ProblemType(412, "A precondition of the request failed"),
    "payload-too-large": ProblemType(413, "The body is too large"),
    "uri-too-long": ProblemType(414, "The URI is too long"),
    "unsupported-media-type": ProblemType(415, "The media type is not supported"),
    "idempotency-mismatch": ProblemType(422, "The key belongs to another request"),
    "rate-limited": ProblemType(429, "Too many requests"),
    "internal-error": ProblemType(500, "Something went wrong on our side"),
    "partner-rejected": ProblemType(502, "The partner rejected the request"),
    "database-unavailable": ProblemType(503, "The database is not available"),
    "auth-unavailable": ProblemType(503, "Tokens cannot be checked"),
    "partner-unavailable": ProblemType(503, "The partner is not available"),
    "partner-timeout": ProblemType(504, "The partner did not answer in time"),
}
