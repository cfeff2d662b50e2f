"""How a log line looks: JSON for machines, or coloured text for a terminal. Both escape unprintable characters.

Control characters command terminals, and format characters change the order of reading.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import orjson
import structlog

LOG_FORMATS = ["auto", "json", "pretty"]  # auto: pretty on a terminal
TIME_OF_DAY = slice(11, 19)  # of an ISO date
EVENT_WIDTH = 40


def is_pretty(log_format: str) -> bool:
    return log_format == "pretty" or (log_format == "auto" and sys.stdout.isatty())


def to_json(event: dict[str, Any], **_: Any) -> str:
    try:
        return escaped(orjson.dumps(event, default=repr, option=orjson.OPT_NON_STR_KEYS)).decode()
    except TypeError:  # a lone surrogate, which valid JSON may contain
        return json.dumps(event, default=repr)


def escaped(line: bytes) -> bytes:
    """With \\uXXXX for unprintable characters."""
    text = line.decode()
    return line if text.isprintable() else _escaped_text(text).encode()


def _escaped_text(text: str) -> str:
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


class Pretty:
    """Renders an event for a terminal. https://no-color.org names the variable NO_COLOR."""

    def __init__(self) -> None:
        colors = not os.environ.get("NO_COLOR")
        self._render = structlog.dev.ConsoleRenderer(
            colors=colors, timestamp_key="time", pad_event_to=EVENT_WIDTH, sort_keys=False
        )

    def __call__(self, logger: Any, name: str, event: Mapping[str, Any]) -> str:
        shown = {_escaped_text(str(key)): _shown(value) for key, value in event.items() if key != "exception"}
        shown["time"] = str(event["time"])[TIME_OF_DAY] + "Z"
        traceback = event.get("exception", "")
        # Indented, so that no line of an exception's text can pass for a log line.
        lines = [f"    {_escaped_text(line)}" for line in traceback.split("\n")] if traceback else []
        return "\n".join([str(self._render(logger, name, shown)), *lines])

    def request(self, line: Mapping[str, Any]) -> bytes:
        """One for an answered request."""
        query = f"?{line['query']}" if line["query"] else ""
        text = f"{line['status']} {line['method']} {line['path']}{query} {line['milliseconds']} ms"
        kept = {name: line[name] for name in ("time", "level", "request_id", "peer")}
        if line["trace_id"] != line["request_id"]:
            kept["trace_id"] = line["trace_id"]
        return self(None, "", {"event": text, **kept}).encode()


def _shown(value: Any) -> str | int | float:
    is_plain = isinstance(value, int | float | bool)
    return value if is_plain else _escaped_text(value if isinstance(value, str) else repr(value))
