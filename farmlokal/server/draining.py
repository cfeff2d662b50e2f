"""How a worker ends without losing a request."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Sequence
from types import FrameType

from uvicorn.config import Config
from uvicorn.server import Server

from farmlokal.server.listeners import Slot
from farmlokal.server.transport import is_readable

SUCCESSOR_SECONDS = 15  # for the next worker of the slot to start; after that, connections wait for it
HANDSHAKE_SECONDS = 0.3  # round trip of a client that has begun to connect
POLL_SECONDS = 0.01


class DrainingServer(Server):
    """slot and age are those of its worker; slot is None if all workers share one socket."""

    def __init__(self, config: Config, slot: Slot | None, age: int) -> None:
        super().__init__(config)
        self._slot, self._age = slot, age
        self._wait_ends = 0.0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in sockets or []:  # before uvicorn logs that the startup is complete
            listener.listen(self.config.backlog)
        await super().startup(sockets)
        if self._slot:
            self._slot.ages.accepting = self._age

    async def on_tick(self, counter: int) -> bool:
        """True: the worker ends."""
        is_ending = await super().on_tick(counter)
        return is_ending and not self._awaits_successor()

    def _awaits_successor(self) -> bool:
        """At a reload, this worker serves until the new one does."""
        if not self._slot or self._slot.ages.accepting >= self._slot.ages.spawned:
            return False
        self._wait_ends = self._wait_ends or time.monotonic() + SUCCESSOR_SECONDS
        return time.monotonic() < self._wait_ends

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ctrl-C reaches the workers too. They leave it to the master, which sends SIGQUIT."""
        if sig != signal.SIGINT:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve the connections that wait, close the listening sockets, and then end the connections."""
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        await _drain(sockets or [])
        await super().shutdown(sockets)


async def _drain(listeners: Sequence[socket.socket]) -> None:
    """Return when no connection waits. The event loop accepts them meanwhile."""
    await asyncio.sleep(HANDSHAKE_SECONDS)
    ends = time.monotonic() + SUCCESSOR_SECONDS  # a successor serves the rest
    while time.monotonic() < ends and any(map(is_readable, listeners)):
        await asyncio.sleep(POLL_SECONDS)
