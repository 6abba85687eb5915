"""A small HTTP/1.1 server on threads: connections are kept alive, and the clock in the Date header is the caller's.

werkzeug's own server closes every connection after one response, which costs more than all of a DynamoDB put.
"""

import contextlib
import io
import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import unquote_to_bytes

Environ: TypeAlias = dict[str, Any]

_LINE_BYTES_MAX = 65_536
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class Response(NamedTuple):
    """What is answered; the server adds Content-Length and Connection."""

    status: int
    headers: Iterable[tuple[str, str]]
    body: bytes


Application: TypeAlias = Callable[[Environ, bytes], Response]
"""Answers a request, given its WSGI environment (its ``wsgi.input`` holds the body too) and its body."""


class HttpServer:
    """Serves an application on a free port of 127.0.0.1, from ``start`` to ``stop``."""

    def __init__(self, application: Application) -> None:
        self._server = _Server(application)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="standin-http")

    def start(self) -> None:
        """Answer requests, each connection in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the requests at hand, drop all connections and wait for the threads."""
        self._server.shutdown()
        self._thread.join()
        self._server.stop_listening()
        self._server.drop_connections()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = False  # so that server_close waits for them
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, application: Application) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.application = application
        self._connections: set[socket.socket] = set()
        self._connections_lock = threading.Lock()
        self._dropping = False

    def keep(self, connection: socket.socket) -> None:
        with self._connections_lock:
            self._connections.add(connection)
            if self._dropping:
                _drop(connection)

    def forget(self, connection: socket.socket) -> None:
        with self._connections_lock:
            self._connections.discard(connection)

    def stop_listening(self) -> None:
        self.socket.close()

    def drop_connections(self) -> None:
        """Let no connection read another request; answers on their way are still written."""
        with self._connections_lock:
            self._dropping = True
            for connection in self._connections:
                _drop(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no fault of the server's; anything else is."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _drop(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)


class _Connection(socketserver.StreamRequestHandler):
    server: _Server
    disable_nagle_algorithm = True
    rbufsize = 262_144

    def setup(self) -> None:
        super().setup()
        self.server.keep(self.connection)

    def finish(self) -> None:
        self.server.forget(self.connection)
        super().finish()

    def handle(self) -> None:
        while self._handle_one():
            pass

    def _handle_one(self) -> bool:
        """Answer one request; whether the connection stays open for another."""
        line = self.rfile.readline(_LINE_BYTES_MAX)
        if not line.strip():
            return False
        method, target, version = line.decode("latin-1").split()
        headers = _headers(self.rfile)
        environ = self._environ(method, target, version, headers)
        if environ.get("HTTP_EXPECT", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = _body(self.rfile, environ)
        environ["wsgi.input"] = io.BytesIO(body)
        response = self.server.application(environ, body)
        close = version == "HTTP/1.0" or environ.get("HTTP_CONNECTION", "").lower() == "close"
        self.wfile.write(_encoded(response, head=method == "HEAD", close=close))
        return not close

    def _environ(self, method: str, target: str, version: str, headers: list[tuple[str, str]]) -> Environ:
        path, _, query = target.partition("?")
        environ: Environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "REQUEST_URI": target,
            "RAW_URI": target,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self.server.server_address[1]),
            "SERVER_PROTOCOL": version,
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "standin.headers": headers,
        }
        for name, value in headers:
            key = name.upper().replace("-", "_")
            if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
                key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ


def _headers(stream: io.BufferedIOBase) -> list[tuple[str, str]]:
    headers = []
    while (line := stream.readline(_LINE_BYTES_MAX)) not in (b"\r\n", b"\n", b""):
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name, value.strip()))
    return headers


def _body(stream: io.BufferedIOBase, environ: Environ) -> bytes:
    """ConnectionAbortedError where the client went away in the middle: half a request asks for nothing."""
    if "chunked" not in environ.pop("HTTP_TRANSFER_ENCODING", ""):
        return _exactly(stream, int(environ.get("CONTENT_LENGTH") or 0))
    chunks = []
    while length := _chunk_length(stream):
        chunks.append(_exactly(stream, length))
        stream.readline(_LINE_BYTES_MAX)
    _headers(stream)  # trailers
    body = b"".join(chunks)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


def _chunk_length(stream: io.BufferedIOBase) -> int:
    line = stream.readline(_LINE_BYTES_MAX)
    if not line.endswith(b"\n"):
        raise ConnectionAbortedError("the client went away between two chunks")
    return int(line.partition(b";")[0], 16)


def _exactly(stream: io.BufferedIOBase, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise ConnectionAbortedError(f"the client went away after {len(data)} of {length} bytes")
    return data


def _encoded(response: Response, *, head: bool, close: bool) -> bytes:
    status, headers, body = response
    phrase = _PHRASES.get(status, "")
    lines = [f"HTTP/1.1 {status} {phrase}"]
    length = None
    for name, value in headers:
        if name.lower() == "content-length":
            length = value
        elif name.lower() not in ("connection", "transfer-encoding"):
            lines.append(f"{name}: {value}")
    if head or status in (204, 304):
        body = b""
        if head:
            lines.append(f"Content-Length: {length or 0}")
    else:
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close" if close else "Connection: keep-alive")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
