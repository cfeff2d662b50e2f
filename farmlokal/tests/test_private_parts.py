"""The undocumented parts of libraries that the code uses, so that an upgrade without them fails here by name."""

from __future__ import annotations

import inspect
import os
import socket
import ssl
from pathlib import Path
from typing import Any

import httptools
import pytest
import requests
import urllib3
import uvicorn
import uvloop
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.mysql import base as mysql_base
from django.db.backends.mysql import client as mysql_client
from django.db.backends.mysql import features as mysql_features
from django.db.backends.mysql import schema as mysql_schema
from django.views.debug import SafeExceptionReporterFilter
from django_redis import get_redis_connection
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import build_mock_request
from environs import Env
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.mmap_dict import MmapedDict
from pybreaker import CircuitMemoryStorage
from redis.asyncio import connection as async_connection
from redis.cluster import ClusterNode, NodesManager
from redis.connection import DefaultParser
from redis.exceptions import MovedError, NoScriptError
from requests.adapters import HTTPAdapter
from rest_framework.request import Request
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState
from uvicorn_worker import UvicornWorker

from farmlokal.redis.nodes import CacheClient, nodes_of
from farmlokal.redis.scripts import HASH_TAG

CALLED_OR_OVERRIDDEN: list[tuple[Any, list[str]]] = [
    (mysql_base.DatabaseWrapper, ["_commit", "_rollback", "is_usable", "get_new_connection", "get_connection_params"]),
    (mysql_base.DatabaseWrapper, ["SchemaEditorClass", "client_class", "features_class"]),
    (BaseDatabaseSchemaEditor, ["_field_should_be_indexed"]),
    (mysql_schema.DatabaseSchemaEditor, ["_field_should_be_indexed", "sql_create_table", "sql_delete_index"]),
    (mysql_client.DatabaseClient, ["settings_to_cmd_args_env"]),
    (mysql_features.DatabaseFeatures, ["supports_foreign_keys"]),
    (SafeExceptionReporterFilter, ["hidden_settings", "cleanse_setting", "get_traceback_frame_variables"]),
    (AutoSchema, ["_is_list_view", "_get_response_bodies", "_get_request_body", "resolve_serializer"]),
    (AutoSchema, ["_map_basic_serializer", "_insert_field_validators", "get_auth", "get_override_parameters"]),
    (Env, ["_get_value"]),
    (HTTPConnection, ["_new_conn"]),
    (HTTPSConnection, ["_new_conn"]),
    (HTTPConnectionPool, ["ConnectionCls"]),
    (HTTPSConnectionPool, ["ConnectionCls"]),
    (HTTPAdapter, ["init_poolmanager", "cert_verify"]),
    (requests.Session, ["get_redirect_target"]),
    (socket.socket, ["recv_into", "send", "sendall"]),
    (ssl.SSLContext, ["sslsocket_class"]),
    (httptools_impl, ["STATUS_LINE", "RequestResponseCycle"]),
    (httptools_impl.HttpToolsProtocol, ["connection_made", "connection_lost", "eof_received", "data_received"]),
    (httptools_impl.HttpToolsProtocol, ["on_message_begin", "on_header", "on_headers_complete", "on_body"]),
    (httptools_impl.HttpToolsProtocol, ["on_message_complete", "on_response_complete", "shutdown"]),
    (httptools_impl.HttpToolsProtocol, ["_unset_keepalive_if_required"]),
    (httptools.HttpRequestParser, ["should_upgrade", "get_method", "get_http_version", "set_dangerous_leniencies"]),
    (FlowControl, ["resume_reading"]),
    (UvicornWorker, ["CONFIG_KWARGS", "init_signals"]),
    (Arbiter, ["WORKERS"]),
    (CircuitMemoryStorage, ["state", "opened_at", "reset_counter"]),
    (MmapedDict, ["read_all_values_from_file", "read_value", "write_value", "close"]),
]


@pytest.mark.parametrize(("owner", "names"), CALLED_OR_OVERRIDDEN)
def test_library_has_the_parts_we_use(owner: Any, names: list[str]) -> None:
    assert [name for name in names if not hasattr(owner, name)] == []


# Attributes of instances


def test_prometheus_histogram_has_sum_and_buckets() -> None:
    histogram = Histogram("seconds", "Test", buckets=(1, 2), registry=CollectorRegistry())
    histogram._sum.inc(3)
    histogram._buckets[1].inc(1)
    assert histogram._upper_bounds[:2] == [1, 2]
    assert [sample.value for metric in histogram.collect() for sample in metric.samples][:4] == [0, 1, 1, 1]


def test_prometheus_files_can_be_folded(tmp_path: Path) -> None:
    path = str(tmp_path / "counter_1.db")
    file = MmapedDict(path)  # type: ignore[no-untyped-call]
    file.write_value("key", 2.0, 0.0)  # type: ignore[no-untyped-call]
    assert file.read_value("key")[0] == 2.0  # type: ignore[no-untyped-call]
    file.close()  # type: ignore[no-untyped-call]
    ((name, value, _, _),) = MmapedDict.read_all_values_from_file(path)  # type: ignore[no-untyped-call]
    assert (name, value) == ("key", 2.0)


def test_redis_pool_and_connection_have_the_parts_we_use() -> None:
    pool: Any = nodes_of(os.environ["REDIS_URL"]).pool_of("")
    assert {"inuse_connections"} <= inspect.signature(pool.disconnect).parameters.keys()
    connection = pool.get_connection()
    try:
        connection.send_command("PING")
        assert connection.can_read(20)
        assert connection.read_response() in {b"PONG", "PONG"}
        assert connection.socket_timeout > 0
        assert callable(connection.disconnect)
    finally:
        pool.release(connection)


def test_django_redis_takes_the_pool_of_its_keys() -> None:
    client: Any = get_redis_connection("default")
    assert type(client) is CacheClient
    assert client.connection_pool is nodes_of(os.environ["REDIS_URL"]).pool_of(HASH_TAG)
    assert client.ping()


def test_redis_cluster_has_the_parts_we_use() -> None:
    assert {"from_url", "dynamic_startup_nodes"} <= inspect.signature(NodesManager).parameters.keys()
    assert callable(NodesManager.initialize)
    assert callable(NodesManager.move_slot)
    assert {"slot"} <= inspect.signature(NodesManager.get_node_from_slot).parameters.keys()
    node: Any = ClusterNode("127.0.0.1", 1)  # type: ignore[no-untyped-call]
    assert (node.host, node.port) == ("127.0.0.1", 1)


def test_asyncio_redis_connection_hands_over_its_transport() -> None:
    nodes = nodes_of(os.environ["REDIS_URL"])
    pool: Any = async_connection.ConnectionPool.from_url(nodes.url_of(nodes.address_of("")))
    connection = pool.make_connection()

    async def connect() -> Any:
        await connection.connect()
        transport = connection._writer.transport
        await connection.disconnect(nowait=True)
        return transport

    assert callable(uvloop.run(connect()).set_protocol)
    assert isinstance(DefaultParser.parse_error("NOSCRIPT No matching script."), NoScriptError)  # type: ignore[no-untyped-call]


def test_redis_error_names_the_node_of_a_moved_key() -> None:
    moved = MovedError("3999 127.0.0.1:6381")
    assert (moved.host, moved.port) == ("127.0.0.1", 6381)


def test_urllib3_pool_manager_takes_our_pools() -> None:
    assert set(urllib3.PoolManager().pool_classes_by_scheme) == {"http", "https"}
    connection = HTTPConnection("localhost", 80)
    assert (connection._dns_host, connection.port) == ("localhost", 80)
    assert hasattr(connection, "socket_options")
    assert callable(urllib3.HTTPResponse.stream)


def test_rest_framework_request_has_djangos_request() -> None:
    assert "_request" in inspect.getsource(Request.__init__)


def test_spectacular_builds_mock_requests_of_these_arguments() -> None:
    assert list(inspect.signature(build_mock_request).parameters)[:4] == ["method", "path", "view", "original_request"]


def test_django_begins_transactions_as_we_expect() -> None:
    source = inspect.getsource(BaseDatabaseWrapper)
    assert "self._start_transaction_under_autocommit()" in source
    used = ["atomic_blocks", "needs_rollback", "errors_occurred", "in_atomic_block"]
    assert [name for name in used if f"self.{name} = " not in source] == []
    assert list(inspect.signature(transaction.Atomic).parameters) == ["using", "savepoint", "durable"]


def test_uvicorn_protocol_and_cycle_have_the_attributes_we_use() -> None:
    config = uvicorn.Config(object)  # never called
    config.load()
    loop: Any = object()
    protocol = httptools_impl.HttpToolsProtocol(config, ServerState(), {}, loop)
    used = ["parser", "transport", "flow", "pipeline", "cycle", "client", "loop", "connections"]
    assert [name for name in used if not hasattr(protocol, name)] == []
    source = inspect.getsource(httptools_impl.RequestResponseCycle)
    flags = ["keep_alive", "more_body", "response_started", "response_complete", "disconnected", "message_event"]
    assert [name for name in flags if f"self.{name}" not in source] == []


def test_gunicorn_passes_its_hooks_what_we_use() -> None:
    assert "self.sockets" in inspect.getsource(Worker)
    assert "self.cfg.child_exit(self, worker)" in inspect.getsource(Arbiter)
    assert "access_log_enabled" in inspect.getsource(Logger)
