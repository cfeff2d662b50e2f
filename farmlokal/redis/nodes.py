"""Which Redis server holds a key now: the one of REDIS_URL, the master that Sentinels name, or a master of a cluster.

redis-py asks the servers of REDIS_URL (the seeds), and we keep these for ever. Seeds that are away cost seconds, so
background tasks ask; a request uses the last answer. Our own pools of connections per server bound every other wait.
"""

from __future__ import annotations

import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django_redis.pool import ConnectionFactory
from redis import ConnectionPool, Redis
from redis import exceptions as redis_exceptions
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, NodesManager
from redis.connection import parse_url
from redis.crc import key_slot
from redis.retry import Retry
from redis.sentinel import Sentinel

from farmlokal.redis.url import Address, Servers, read

MIN_CONNECT_SECONDS = 0.5  # several round trips: TCP, TLS, login
HERE: Address = ("", 0)  # the one server of a plain URL

# These answers mean that the seeds should be asked again, as a lost connection does.
MISPLACED = (
    redis_exceptions.AskError,  # also MovedError
    redis_exceptions.ReadOnlyError,
    redis_exceptions.ClusterDownError,  # also MasterDownError
    redis_exceptions.TryAgainError,
)


class Nodes(ABC):
    checks_roles = True  # on new connections, since a seed may name a master that is one no longer

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._pools: dict[Address, ConnectionPool] = {}

    @abstractmethod
    def address_of(self, key: str) -> Address:
        """The server that has this key, by the last answer of the seeds. Raises ConnectionError without one."""

    @abstractmethod
    def ask_seeds(self) -> None:
        """Ask again which servers are masters. May take seconds. Raises RedisError."""

    def follow(self, moved: redis_exceptions.MovedError) -> None:
        """Believe a server that it lacks this slot. Raises `moved` if that cannot be."""
        raise moved

    def pool_of(self, key: str) -> ConnectionPool:
        address = self.address_of(key)
        return self._pools.get(address) or self._pools.setdefault(address, self._new_pool(address))

    def url_of(self, address: Address) -> str:
        return self._servers.url_of(address)

    def drop_idle_connections(self) -> None:
        """A server may have lost its role: do not believe its open connections."""
        for pool in list(self._pools.values()):
            pool.disconnect(inuse_connections=False)

    def _new_pool(self, address: Address) -> ConnectionPool:
        greet = {"redis_connect_func": _greet} if self.checks_roles else {}
        pool: ConnectionPool = ConnectionPool.from_url(
            self.url_of(address), retry=Retry(NoBackoff(), 0), **_timeouts(), **greet
        )
        return pool


class OneServer(Nodes):
    checks_roles = False

    def address_of(self, key: str) -> Address:
        return HERE

    def ask_seeds(self) -> None:
        pass


class Discovered(Nodes):
    """Servers that seeds name."""

    def __init__(self, servers: Servers) -> None:
        super().__init__(servers)
        self._asking = threading.Lock()
        self._has_asked = False

    def pool_of(self, key: str) -> ConnectionPool:
        if not self._has_asked and not self._asking.locked():  # commands of manage.py have no background task yet
            self.ask_seeds()
        return super().pool_of(key)

    def ask_seeds(self) -> None:
        with self._asking, _only_redis_errors():
            self._has_asked = True
            self._discover()

    @abstractmethod
    def _discover(self) -> None: ...


class SentinelMaster(Discovered):
    def __init__(self, servers: Servers) -> None:
        super().__init__(servers)
        options = _connection_options(servers)
        shared = {name: value for name, value in options.items() if name.startswith(("ssl_", "socket_"))}
        self._sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
            servers.hosts,
            sentinel_kwargs={
                "ssl": servers.scheme == "rediss",
                "password": servers.sentinel_password or None,
                "retry": Retry(NoBackoff(), 0),
                **shared,
            },
        )
        self._master: Address | None = None

    def address_of(self, key: str) -> Address:
        if self._master is None:
            raise redis_exceptions.ConnectionError("no Sentinel names a master")
        return self._master

    def _discover(self) -> None:
        self._master = None  # while Sentinels know no master, an old one that comes back must not be believed
        self._master = self._sentinel.discover_master(self._servers.service)


class ClusterMasters(Discovered):
    def __init__(self, servers: Servers) -> None:
        super().__init__(servers)
        self._manager: Any = None
        self._addresses: dict[int, Address] = {}  # by slot; redis-py's answer takes four times as long

    def address_of(self, key: str) -> Address:
        if self._manager is None:
            raise redis_exceptions.ConnectionError("no node of the cluster has answered yet")
        addresses, slot = self._addresses, key_slot(key.encode())
        if slot not in addresses:
            with _only_redis_errors():
                node = self._manager.get_node_from_slot(slot)
            addresses[slot] = node.host, node.port
        return addresses[slot]

    def follow(self, moved: redis_exceptions.MovedError) -> None:
        with _only_redis_errors():
            self._manager.move_slot(moved)
        self._addresses = {}  # another one: a thread that asked before must not fill this one
        self.drop_idle_connections()

    def _discover(self) -> None:
        if self._manager:
            self._manager.initialize()
            self._addresses = {}
            return
        self._manager = NodesManager(
            [ClusterNode(*address) for address in self._servers.hosts],  # type: ignore[no-untyped-call]
            from_url=True,
            dynamic_startup_nodes=False,
            **_connection_options(self._servers),
        )


KINDS: dict[str, type[Nodes]] = {"one": OneServer, "sentinel": SentinelMaster, "cluster": ClusterMasters}
_known: dict[str, Nodes] = {}


def current_nodes() -> Nodes:
    return nodes_of(settings.CACHES["default"]["LOCATION"])


def nodes_of(url: str) -> Nodes:
    """url: REDIS_URL. All callers in this process share the answer."""
    return _known.get(url) or _known.setdefault(url, _new_nodes(read(url)))


def _new_nodes(servers: Servers) -> Nodes:
    return KINDS[servers.kind](servers)


class CacheClient(Redis):
    """For django-redis, whose keys share the hash tag KEY_PREFIX, so one server has all of them."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        super().__init__(connection_pool=self.connection_pool)

    @property
    def connection_pool(self) -> ConnectionPool:
        return self._nodes.pool_of(settings.CACHES["default"]["KEY_PREFIX"])

    @connection_pool.setter
    def connection_pool(self, pool: ConnectionPool) -> None:
        pass

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis_exceptions.MovedError as moved:
            self._nodes.follow(moved)
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]


class CacheConnections(ConnectionFactory):  # type: ignore[misc]
    """Connects django-redis. Its option CONNECTION_FACTORY names this class.

    django-redis splits LOCATION at commas, so `url` may be a part of it.
    """

    def connect(self, url: str) -> CacheClient:
        return CacheClient(current_nodes())


def check_role(role: Sequence[Any]) -> None:
    """role: the reply to ROLE. Raises ConnectionError for a replica."""
    if role[0] != b"master":
        raise redis_exceptions.ConnectionError("this server is a replica")


def _greet(connection: Any) -> None:
    connection.on_connect()
    connection.send_command("ROLE")
    with contextlib.suppress(redis_exceptions.NoPermissionError):  # a replica refuses the first write anyway
        check_role(connection.read_response())


def _timeouts() -> dict[str, float]:
    seconds = settings.REDIS_TIMEOUT_SECONDS
    return {"socket_timeout": seconds, "socket_connect_timeout": max(seconds, MIN_CONNECT_SECONDS)}


def _connection_options(servers: Servers) -> dict[str, Any]:
    """The options of redis-py's connections, without an address."""
    options: dict[str, Any] = parse_url(servers.url_of(servers.hosts[0]))  # type: ignore[no-untyped-call]
    return {name: value for name, value in options.items() if name not in {"host", "port", "db"}} | _timeouts()


@contextlib.contextmanager
def _only_redis_errors() -> Iterator[None]:
    """redis-py's discovery also raises errors of other kinds."""
    try:
        yield
    except redis_exceptions.RedisError:
        raise
    except Exception as error:
        raise redis_exceptions.ConnectionError(f"{type(error).__name__}: {error}") from error
