"""Counts the SQL statements and Redis commands of this thread's current request."""

from __future__ import annotations

import threading


class Tally(threading.local):
    statements = 0
    commands = 0

    def clear(self) -> None:
        self.statements = self.commands = 0


current = Tally()
