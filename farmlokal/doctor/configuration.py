"""Examines the settings: all of Django's system checks that need no database, with those for deployments."""

from __future__ import annotations

from collections.abc import Iterator

from django.core import checks

from farmlokal.doctor.results import Level, Result, ok


def examine() -> Iterator[Result]:
    found = [message for message in checks.run_checks(include_deployment_checks=True) if not message.is_silenced()]
    for message in found:
        level: Level = "error" if message.is_serious() else "warning"
        yield Result(level, f"settings {message.id}", message.msg, message.hint or "")
    if not found:
        yield ok("settings", "No warning of check --deploy.")
