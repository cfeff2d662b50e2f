"""Redis servers that belong together: a master and its replicas, their Sentinels, the nodes of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from redis import Redis

from dev.testing.programs import program
from dev.testing.servers import Daemon, answers_ping


def node(folder: Path, port: int, configuration: str, *options: str) -> Daemon:
    """A Redis in this folder, not started. It may rewrite its configuration; options of redis-server override that."""
    folder.mkdir(parents=True)
    (folder / "redis.conf").write_text(f"port {port}\nbind 127.0.0.1\n{configuration}\n")
    command = [program("redis-server"), "redis.conf", *options]
    return Daemon(f"redis://127.0.0.1:{port}/0", command, folder, lambda: answers_ping(port))


def ask(server: Daemon, *command: Any) -> Any:
    """Send a command to this server. Returns its plain reply. Raises a RedisError."""
    with Redis.from_url(server.url, socket_timeout=1, protocol=2, decode_responses=True) as client:
        client.response_callbacks.clear()
        return client.execute_command(*command)


def write_to_replica(server: Daemon, key: str, value: str) -> None:
    """Write a key to this server and one of its replicas. Raises an AssertionError if no replica has it in 5 s."""
    with Redis.from_url(server.url, single_connection_client=True, socket_timeout=10) as client:
        client.set(key, value)
        assert client.wait(1, 5000) == 1  # WAIT waits for the writes of its own connection only
