"""manage.py doctor: examine the deployment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from farmlokal.doctor import configuration, mysql, outside, redis
from farmlokal.doctor.results import Result
from farmlokal.mysql.limits import limit_waits

EXAMINATIONS = (configuration.examine, mysql.examine, redis.examine, outside.examine)


class Command(BaseCommand):
    help = (
        "Examines settings, MySQL, Redis, the token providers and the partner, with one line for each finding. "
        "The exit status is 1 if there is an error; warnings alone leave it 0."
    )
    requires_system_checks = ()  # they are among the findings

    def handle(self, **_: Any) -> None:
        limit_waits()
        levels = Counter[str]()
        for examine in EXAMINATIONS:
            for result in examine():
                levels[result.level] += 1
                self.stdout.write(self._line(result))
        if levels["error"]:
            raise CommandError(f"{_counted(levels, 'error')}, {_counted(levels, 'warning')}.")
        self.stdout.write(f"No errors, {_counted(levels, 'warning')}.")

    def _line(self, result: Result) -> str:
        level = {"ok": self.style.SUCCESS, "warning": self.style.WARNING, "error": self.style.ERROR}.get(
            result.level, self.style.NOTICE
        )(f"{result.level:8}")
        return " ".join(f"{level} {result.name}: {result.text} {result.advice}".split())


def _counted(levels: Mapping[str, int], level: str) -> str:
    return f"{levels[level]} {level}{'' if levels[level] == 1 else 's'}"
