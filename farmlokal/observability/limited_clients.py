"""The clients that this process has refused with 429, until they are taken."""

from __future__ import annotations

from collections import Counter

MAX_CLIENTS = 1000  # refusals of further clients are not counted by client
MAX_NAME_LENGTH = 100


class LimitedClients:
    """Without a lock: two threads that count at once may lose one refusal."""

    def __init__(self) -> None:
        self._refusals = Counter[str]()

    def add(self, policy: str, client: str) -> None:
        name, refusals = f"{policy} {client}"[:MAX_NAME_LENGTH], self._refusals
        if name in refusals or len(refusals) < MAX_CLIENTS:
            refusals[name] += 1

    def take(self) -> Counter[str]:
        """Refusals by "POLICY CLIENT" since the last call."""
        taken, self._refusals = self._refusals, Counter()
        return taken


limited_clients = LimitedClients()
