"""Bytes that are not, or not quite, HTTP/1.1; and good requests that arrive in an unusual way."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from dev.fuzz.cases import HOST, Case

GET = f"GET /livez HTTP/1.1\r\nHost: {HOST}\r\n".encode()
LIST = f"GET /products?limit=2 HTTP/1.1\r\nHost: {HOST}\r\n".encode()
POST = f"POST /webhooks/partner HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n".encode()
WRITE = f"PATCH /products/1 HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n".encode()
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = POST + b"Content-Length: 2\r\n\r\n{}"
GOOD = [GET + b"\r\n", LIST + b"\r\n", SIZED, WRITE + b"Content-Length: 2\r\n\r\n{}", CHUNKED + b"2\r\n{}\r\n0\r\n\r\n"]
STRANGE = [b"\0", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\xff", b"\x80", b"\x0b", b"%", b"\r\n\r\n", b"\r\n "]
FOREIGN = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS ClientHello
    *(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(30), b"SSH-2.0-OpenSSH_9.6\r\n", b"*1\r\n$4\r\nPING\r\n"),
    *(b"\x00\x00\x00\x01\x00", b"\x04\x01\x00\x50\x7f\x00\x00\x01\x00", b"EHLO x\r\n", b"GET /livez\r\n\r\n"),
    *(b"get x\r\n", b"\r\n" * 300),
]
LAST_CHUNKS = [b"", b"0\r\n\r\n", b"0\r\nHost: evil.example\r\nX: y\r\n\r\n"]
LENGTHS = [b"-1", b"+2", b"2, 2", b"0x2", b"2 ", b" 2", b"1e1", b"", b"18446744073709551617", b"99999999999"]
LENGTHS += [b"1", b"3", b"2\r\nContent-Length: 3"]
CODINGS = [b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked", b"\x0bchunked"]
CODINGS += [b"chunked\r\nContent-Length: 2", b"CHUNKED", b"trailers"]
CHUNKS = [b"-1\r\n{}\r\n", b"0x2\r\n{}\r\n", b"2;a=\0\r\n{}\r\n", b"2\n{}\n0\n\n", b"ffffffffffffffffff\r\n{}"]
CHUNKS += [b"2\r\n{}x\r\n", b"\r\n", b"2;" + b"a" * 20_000, b"z\r\n"]
METHODS = [b"GET", b"get", b"G\xc3\x89T", b"CONNECT", b"M-SEARCH", b"", b"A" * 5_000, b"OPTIONS"]
TARGETS = [
    b"/livez",
    b"*",
    b"http://127.0.0.1/livez",
    b"//livez",
    b"/\xe0\xa4\x86",
    b"livez",
    b"",
    b"/%",
    b"127.0.0.1:80",
]
VERSIONS = [b"HTTP/" + number for number in (b"1.1", b"1.0", b"1.2", b"2.0", b"0.9", b"1", b"1.1 x")]
VERSIONS += [b"http/1.1", b"HTTPS/1.1", b""]
NOT_SUPPORTED = frozenset({501, 505})  # other transfer codings and HTTP versions; RFC 9112 and 9110 name these statuses


class Wire:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self._kinds: list[Callable[[], bytes]] = [
            self._mutated, self._mutated, self._mutated, self._pipelined, self._pipelined, self._length, self._coding,
            self._chunks, self._head, self._version, self._foreign, self._noise, self._cut_off, self._expects,
        ]  # fmt: skip

    def case(self) -> Case:
        rng, data = self.rng, self.rng.choice(self._kinds)()
        pieces = (data,) if rng.random() < 0.6 else self._split(data)
        pause = rng.choice([0, 0, 0.001, 0.005, 0.03]) if len(pieces) > 1 else 0
        return Case("raw HTTP", pieces, pause, is_raw=True, is_cut=rng.random() < 0.1, allowed=NOT_SUPPORTED)

    def _split(self, data: bytes) -> tuple[bytes, ...]:
        """At up to eight places; short data sometimes byte by byte."""
        if len(data) < 60 and self.rng.random() < 0.3:
            return tuple(bytes([byte]) for byte in data)
        cuts = sorted({0, len(data), *(self.rng.randint(0, len(data)) for _ in range(8))})
        return tuple(data[start:end] for start, end in itertools.pairwise(cuts))

    def _good(self) -> bytes:
        return self.rng.choice(GOOD)

    def _mutated(self) -> bytes:
        data = bytearray(self._good())
        for _ in range(self.rng.randint(1, 5)):
            at = self.rng.randint(0, len(data))
            put = self.rng.choice([*STRANGE, self.rng.randbytes(1), data[at : at + 20]])
            data[at : at + self.rng.randint(0, 3)] = put
        return bytes(data)

    def _pipelined(self) -> bytes:
        requests = [self._good() for _ in range(self.rng.randint(2, 20))]
        if self.rng.random() < 0.4:
            requests[self.rng.randrange(len(requests))] = self._mutated()
        return b"".join(requests)

    def _length(self) -> bytes:
        after = self.rng.choice([b"", GET + b"\r\n"])
        return POST + b"Content-Length: " + self.rng.choice(LENGTHS) + b"\r\n\r\n{}" + after

    def _coding(self) -> bytes:
        return POST + b"Transfer-Encoding: " + self.rng.choice(CODINGS) + b"\r\n\r\n2\r\n{}\r\n0\r\n\r\n"

    def _chunks(self) -> bytes:
        chunks = [self.rng.choice([b"1\r\n \r\n", *CHUNKS]) for _ in range(self.rng.randint(1, 4))]
        return CHUNKED + b"".join(chunks) + self.rng.choice(LAST_CHUNKS)

    def _head(self) -> bytes:
        """Too long, too many, folded, doubled or nameless headers."""
        rng = self.rng
        more = [
            b"X: " + b"y" * rng.randint(1, 90_000),
            b"X: y\r\n" * rng.randint(1, 300),
            b"X: y\r\n z",
            b": y",
            b"X : y",
            b"X",
            b"X: \0",
        ]
        more += [
            b"Host: a, b",
            b"Host:",
            b"Host: [::1",
            b"Host: " + rng.randbytes(8).hex().encode(),
            b"Connection: " + rng.choice([b"close", b"x", b"host"]),
        ]
        return rng.choice([GET, LIST, WRITE]) + rng.choice(more) + b"\r\n\r\n"

    def _version(self) -> bytes:
        rng = self.rng
        method = rng.choice(METHODS)
        target = rng.choice([*TARGETS, b"/" + b"a" * rng.randint(1, 80_000)])
        line = b" ".join([method, target, rng.choice(VERSIONS)]) + rng.choice([b"\r\n", b"\n"])
        return line + f"Host: {HOST}\r\n\r\n".encode()

    def _foreign(self) -> bytes:
        return self.rng.choice(FOREIGN)

    def _noise(self) -> bytes:
        return self.rng.randbytes(self.rng.randint(1, 2_000))

    def _cut_off(self) -> bytes:
        data = self._pipelined()
        return data[: self.rng.randint(0, len(data))]

    def _expects(self) -> bytes:
        rng = self.rng
        offer = rng.choice(
            [
                b"Expect: 100-continue",
                b"Expect: x",
                b"Upgrade: websocket\r\nConnection: Upgrade",
                b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
            ]
        )
        head = rng.choice([GET, POST + b"Content-Length: 2\r\n"]) + offer + b"\r\n\r\n"
        return head + rng.choice([b"", b"{}"]) + GET + b"\r\n"
