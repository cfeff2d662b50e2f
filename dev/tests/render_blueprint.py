"""The fields of render.yaml that this project may use, as a JSON Schema.

Render publishes its own schema without a licence, so this is a stricter table of our own, written after
https://render.com/docs/blueprint-spec (2026-11). A field that is not listed here, or is misspelt, fails the test.
"""

from __future__ import annotations

from typing import Any

TEXT = {"type": "string", "minLength": 1}
NAME = {"type": "string", "pattern": "^[a-z][a-z0-9-]*$"}
REGION = {"enum": ["oregon", "ohio", "virginia", "frankfurt", "singapore"]}
PLAN = {"enum": ["free", "starter", "standard", "pro", "pro plus", "pro max", "pro ultra"]}
POLICY = {
    "enum": [
        *("noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random"),
        *("volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"),
    ]
}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


SOURCE = {"type": {"enum": ["web", "pserv", "worker", "cron", "keyvalue"]}, "name": NAME}
PROPERTY = {"enum": ["connectionString", "host", "port", "hostport"]}
KEY = {"key": {"type": "string", "pattern": "^[A-Z][A-Z0-9_]*$"}}
# A number or a bare `on` would not arrive as it is written.
VARIABLE = {
    "oneOf": [
        _object(KEY | {"value": {"type": "string"}}),
        _object(KEY | {"sync": {"const": False}}),
        _object(KEY | {"generateValue": {"const": True}}),
        _object(KEY | {"fromService": _object(SOURCE | {"property": PROPERTY})}),
        _object(KEY | {"fromService": _object(SOURCE | {"envVarKey": KEY["key"]})}),
    ]
}
OF_ALL = {"name": NAME, "plan": PLAN, "region": REGION}
OF_IMAGES = OF_ALL | {"runtime": {"const": "docker"}, "envVars": {"type": "array", "items": VARIABLE}}
PATH = {"type": "string", "pattern": "^/"}
WEB = _object(
    OF_IMAGES | {"type": {"const": "web"}, "healthCheckPath": PATH},
    preDeployCommand=TEXT,
    dockerCommand=TEXT,
    dockerfilePath=TEXT,
    numInstances={"type": "integer", "minimum": 1},
    maxShutdownDelaySeconds={"type": "integer", "minimum": 1, "maximum": 300},
    domains={"type": "array", "items": TEXT},
    autoDeployTrigger={"enum": ["off", "commit", "checksPass"]},
)
CRON = _object(
    OF_IMAGES
    | {"type": {"const": "cron"}, "schedule": {"type": "string", "pattern": r"^(\S+ ){4}\S+$"}, "dockerCommand": TEXT}
)
ADDRESS = _object({"source": TEXT}, description=TEXT)
KEY_VALUE = _object(
    OF_ALL
    | {
        "type": {"const": "keyvalue"},
        "ipAllowList": {"type": "array", "items": ADDRESS},
        "maxmemoryPolicy": POLICY,
    }
)
BLUEPRINT = _object({"services": {"type": "array", "items": {"oneOf": [WEB, CRON, KEY_VALUE]}}})
