"""How far a read replica must be to serve pages of a generation."""

from __future__ import annotations

import structlog

from farmlokal.mysql.replicas import current_position
from farmlokal.redis.client import run
from farmlokal.redis.scripts import load

POSITION = load(__file__, "position.lua")
KEPT_SECONDS = 24 * 3600

logger = structlog.get_logger(__name__)


class Positions:
    """The position of a generation in the primary's log of changes.

    A page of a generation must show all commits before the generation began. Its position is any that the primary had
    after a reader has found the generation: each of those commits was done then, so it is in the log before that
    position. A writer that commits in between ends the generation, and makes the position only later than needed.
    So writers need not tell theirs, and nothing depends on the order of two writers, or on one that died.
    """

    def __init__(self, generation_key: str, position_key: str) -> None:
        self._keys = [generation_key, position_key]
        self._latest = ("", "")  # a generation and its position
        self._has_warned = False

    def of(self, generation: str) -> str:
        """From memory, else from Redis, else the primary's position now, noted for others. "" if it has none.

        Call it after the lookup that found the generation. "", for a page of no generation, always asks the primary.
        """
        name, position = self._latest
        if generation and name == generation:
            return position
        position = (generation and self._exchange(generation)) or current_position()
        if not position:
            self._warn()
        if generation:
            self._latest = generation, self._exchange(generation, position) or position
        return position

    def _exchange(self, generation: str, position: str = "") -> str:
        answer = run(POSITION, self._keys, [generation, position, KEPT_SECONDS])
        return answer[0].decode() if answer else ""

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning("replicas_unused", reason="the primary has no GTID position; switch its binary log on")
