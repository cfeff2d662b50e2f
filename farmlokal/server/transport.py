"""How one connection writes and reads: joined writes, and no reading ahead."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Sized
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl


def is_readable(socket: Any) -> bool:
    """True if the event loop has not yet read bytes, an end or, of a listening socket, a connection."""
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


class PipelineFlow(FlowControl):
    """Stops reading while complete requests wait, so that pipelined requests do not pile up in memory."""

    def __init__(self, transport: asyncio.Transport, pipeline: Sized) -> None:
        super().__init__(transport)
        self._pipeline = pipeline

    def resume_reading(self) -> None:
        if not self._pipeline:
            super().resume_reading()


class CorkedTransport:
    """Joins the writes of one turn of the event loop. uvicorn writes head and body of a response separately, and
    uvloop would send each write by itself."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._unsent: list[bytes] = []
        self.is_closing = transport.is_closing
        self.abort = transport.abort
        self.get_extra_info = transport.get_extra_info

    def write(self, data: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        data, self._unsent = b"".join(self._unsent), []
        if data and not self._transport.is_closing():  # a reset since the write has closed it
            self._transport.write(data)
