"""Log lines: safe for terminals."""

from __future__ import annotations

import json
import os
import unicodedata

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from farmlokal import logs
from farmlokal.tests.server import running
from farmlokal.tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("live_database")

# Escape, delete, a C1 control, soft hyphen, marks of direction, separators, byte order mark, a language tag.
UNSAFE = [*"\x1b\x7f\x9b\xad\u061c\u200b\u202e\u2028\u2029\u2066\ufeff", "\U000e0041"]
UNSAFE_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}


# Characters


def assert_safe(line: str) -> None:
    assert not UNSAFE_CATEGORIES & {unicodedata.category(char) for char in line}


@pytest.mark.parametrize("char", UNSAFE)
def test_unsafe_character_is_escaped_in_any_field(char: str) -> None:
    event = {"event": f"a{char}b", f"key{char}": [char], "error": ValueError(char)}
    line = logs._to_json(event)
    assert_safe(line)
    assert json.loads(line) == {"event": f"a{char}b", f"key{char}": [char], "error": repr(ValueError(char))}


@given(st.text(st.characters(codec="utf-8")))
def test_line_parses_to_the_same_event(text: str) -> None:
    line = logs._to_json({"event": text})
    assert_safe(line)
    assert json.loads(line) == {"event": text}


@given(st.text(st.characters()))
def test_lone_surrogates_are_escaped(text: str) -> None:
    line = logs._to_json({"event": text + "\ud800"})
    assert_safe(line)
    assert json.loads(line) == {"event": text + "\ud800"}


def test_letters_of_indian_scripts_stay_readable() -> None:
    assert logs._to_json({"event": "आम"}) == '{"event":"आम"}'


def test_request_lines_escape_unsafe_characters(database_environment: dict[str, str]) -> None:
    """The first answer comes from Django, the second from the edge."""
    path = "/products" + "".join(UNSAFE)
    target = "/products" + "".join(f"%{byte:02x}" for byte in "".join(UNSAFE).encode())
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as cleared:
        cleared.flushdb()
    with running(database_environment, WEB_CONCURRENCY="1", RATE_LIMIT_ANONYMOUS="1/3600") as server:
        assert [server.request(target, User_Agent="\x9b").status for _ in range(2)] == [404, 429]
        wait_until(lambda: len(server.log_lines("request")) == 2)
        assert [line["path"] for line in server.log_lines("request")] == [path, path]
        assert_safe(server.log.read_text().replace("\n", ""))
