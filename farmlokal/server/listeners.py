"""The listening sockets: gunicorn's master holds one for each worker, for as long as it lives.

SO_REUSEPORT lets the kernel spread connections over them. A closed socket resets the connections that wait in it, so
a worker inherits its socket, and leaves it to its successor.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import heapq
import mmap
import os
import socket
import struct
import time
from collections.abc import Iterable, Sequence
from typing import Any

from gunicorn import systemd

READ_WAIT_SECONDS = 30  # for a client that does not read its response, or has vanished
FREE_SECONDS = 5  # for an instance that ends on the same port
POLL_SECONDS = 0.1
SO_ATTACH_FILTER = 26  # asm-generic/socket.h
# struct sock_filter of linux/filter.h: load byte 13 of the TCP header; if it has the flag SYN, drop the packet.
DROP_HANDSHAKES = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


class Ages(ctypes.Structure):
    """Ages of a slot's newest workers: the last one that the master has started, and the last that has accepted
    connections. gunicorn numbers its workers from 1."""

    spawned: int
    accepting: int
    _fields_ = (("spawned", ctypes.c_uint64), ("accepting", ctypes.c_uint64))


class Slot:
    """The place of one worker: its listening sockets, one for each address, and the ages, which all processes share."""

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        self.listeners = listeners
        self.ages = Ages.from_buffer(mmap.mmap(-1, ctypes.sizeof(Ages)))


class Listener(socket.socket):
    """The master's copy. To close it means that the socket ends: its worker serves what waits, and no more comes."""

    def __init__(self, server: Any, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self.setblocking(False)
        self.set_inheritable(True)  # for the master that USR2 starts
        self._server = server

    def close(self) -> None:
        is_shared = self._server.reexec_pid or self._server.master_pid  # by two masters, after USR2
        if not is_shared:
            drop_handshakes(self)
        super().close()


def drop_handshakes(listener: socket.socket) -> None:
    """Ignore new connections from now on. Handshakes that have begun still end, and their connections wait.

    A client repeats its handshake after a second. By then the socket is closed, and the kernel refuses the client, or
    passes it to another socket of the port.
    """
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in DROP_HANDSHAKES)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HP", len(DROP_HANDSHAKES), ctypes.addressof(buffer))
    with contextlib.suppress(OSError):  # not Linux: connections of the last instant are reset
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)


def open_slots(server: Any) -> None:
    """Call it in on_starting. For other addresses than TCP's, and for sockets of systemd, gunicorn's own shared socket
    remains. Raise OSError, whose text names the address."""
    server.slots = []
    is_tcp = all(isinstance(address, tuple) for address in server.cfg.address)
    if not is_tcp or systemd.listen_fds(unset_environment=False):
        return
    inherited = [int(fd) for fd in os.environ.pop("GUNICORN_FD", "").split(",") if fd]  # after USR2
    size = len(server.cfg.address)
    for start in range(0, len(inherited), size):
        _add_slot(server, inherited[start : start + size])
    _close(server, server.slots[server.num_workers :])  # the old master had more workers, by TTIN
    if not inherited and not server.cfg.reuse_port:
        _await_free(server.cfg.address)
    while len(server.slots) < server.num_workers:
        _add_slot(server, map(_listener, server.cfg.address))


def _await_free(addresses: Iterable[tuple[str, int]]) -> None:
    """By SO_REUSEPORT alone, a second instance would take a part of the first one's requests."""
    ends = time.monotonic() + FREE_SECONDS
    for address in addresses:
        while True:
            try:
                os.close(_bind(address, socket.SO_REUSEADDR))
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() >= ends:
                    raise
            time.sleep(POLL_SECONDS)


def _listener(address: tuple[str, int]) -> int:
    """The first worker of the slot listens. Until then, the kernel refuses clients instead of letting them wait."""
    return _bind(address, socket.SO_REUSEADDR, socket.SO_REUSEPORT)


def _bind(address: tuple[str, int], *options: int) -> int:
    listener = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
    for option in options:
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
    # Accepted connections inherit it.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READ_WAIT_SECONDS * 1000)
    try:
        listener.bind(address)
    except (OSError, OverflowError) as error:  # OverflowError: of the port
        listener.close()
        number, reason = error.args if isinstance(error, OSError) else (errno.EINVAL, str(error))
        raise OSError(number, f"cannot listen on {address[0]}, port {address[1]}: {reason}") from error
    return listener.detach()


def _add_slot(server: Any, descriptors: Iterable[int]) -> Slot:
    slot = Slot([Listener(server, descriptor) for descriptor in descriptors])
    server.slots.append(slot)
    server.LISTENERS.extend(slot.listeners)
    return slot


def _slots_of_newest(server: Any, count: int) -> list[Slot]:
    """gunicorn ends its oldest workers first, so these stay."""
    return [worker.slot for worker in heapq.nlargest(count, server.WORKERS.values(), key=lambda worker: worker.age)]


def assign_slot(server: Any, worker: Any) -> None:
    """Call it in pre_fork: the worker gets a slot that no lasting worker has."""
    worker.slot = None
    if server.slots:
        taken = _slots_of_newest(server, server.num_workers - 1)
        free = [slot for slot in server.slots if slot not in taken]
        worker.slot = free[0] if free else _add_slot(server, map(_listener, server.cfg.address))
        worker.slot.ages.spawned = worker.age


def enter_slot(server: Any, worker: Any) -> None:
    """Call it in post_fork: the worker keeps the sockets of its slot only."""
    if worker.slot:
        worker.sockets = [socket.socket(fileno=listener.detach()) for listener in worker.slot.listeners]
        for listener in server.LISTENERS:
            if listener.fileno() != -1:
                os.close(listener.detach())


def close_slots(server: Any, count: int) -> None:
    """Call it in nworkers_changed: `count` workers need fewer slots."""
    slots = getattr(server, "slots", [])
    kept = _slots_of_newest(server, count) if slots else []
    _close(server, [slot for slot in slots if slot not in kept][: max(len(slots) - count, 0)])


def _close(server: Any, surplus: Iterable[Slot]) -> None:
    for slot in surplus:
        server.slots.remove(slot)
        for listener in slot.listeners:
            server.LISTENERS.remove(listener)
            listener.close()
