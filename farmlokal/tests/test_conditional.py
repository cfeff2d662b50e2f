"""If-Match, If-None-Match and Accept-Encoding are parsed and compared as RFC 9110 says."""

from __future__ import annotations

import pytest

from farmlokal.http.conditional import (
    ANY,
    check_if_match,
    check_if_none_match,
    condition_in,
    is_not_modified,
    tags_in,
)
from farmlokal.http.problems import Problem
from farmlokal.http.representations import accepts_gzip

TAG = '"0123456789abcdef"'


@pytest.mark.parametrize("header", ["*", " * ", TAG, f"W/{TAG}", f',{TAG}, , "\xe9,",', '""'])
def test_valid_condition_headers_are_parsed(header: str) -> None:
    assert tags_in(header)


@pytest.mark.parametrize(
    "header", ["", ",", "**", "x", '"', '"a', "w/" + TAG, 'W/ "a"', '"a b"', f"{TAG}{TAG}", f"*,{TAG}"]
)
def test_invalid_condition_headers_are_refused(header: str) -> None:
    with pytest.raises(ValueError, match="list of entity tags"):
        tags_in(header)
    assert not is_not_modified(header, TAG)


def test_if_match_compares_strongly() -> None:
    for tags in ([ANY], [TAG], ['"a"', TAG], None):
        check_if_match(tags, TAG)
    for tags, etag in (([f"W/{TAG}"], TAG), (['"a"'], TAG), ([f"W/{TAG}"], f"W/{TAG}"), ([TAG], f"W/{TAG}")):
        with pytest.raises(Problem, match="If-Match"):
            check_if_match(tags, etag)


def test_if_none_match_compares_weakly() -> None:
    check_if_none_match(['"a"', 'W/"b"'], TAG)
    for tags in ([ANY], [TAG], [f"W/{TAG}"]):
        with pytest.raises(Problem, match="If-None-Match"):
            check_if_none_match(tags, TAG)


def test_error_of_a_malformed_condition_names_its_header() -> None:
    assert condition_in({"If-Match": TAG}, "If-None-Match") is None
    with pytest.raises(Problem) as refused:
        condition_in({"If-Match": "a"}, "If-Match")
    assert (refused.value.code, refused.value.errors[0]["header"]) == ("bad-request", "If-Match")


@pytest.mark.parametrize(
    ("header", "accepts"),
    [
        ("gzip", True),
        ("GZIP;Q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("deflate, gzip ; q=1.000", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("gzipped", False),
        ("gzip;q=2", False),
        ("gzip;level=9", False),
        (",;,=", False),
    ],
)
def test_accept_encoding_is_parsed(header: str, accepts: bool) -> None:
    assert accepts_gzip(header) is accepts
