"""How many statements and Redis commands the request that this thread serves has cost so far."""

from __future__ import annotations

import threading


class Tally(threading.local):
    statements = 0
    commands = 0

    def clear(self) -> None:
        self.statements = self.commands = 0


current = Tally()
