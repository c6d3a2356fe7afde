"""A local HTTP server of model files with configurable faults."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """One request. A fault is a function of the handler and the content, called instead of the normal answer."""

    protocol_version = "HTTP/1.1"
    models: ModelServer

    def do_GET(self) -> None:
        self.models.requests.append((self.path, dict(self.headers)))
        content = self.models.files.get(self.path)
        if self.models.faults:
            self.models.faults.popleft()(self, content or b"")
        elif content is None:
            self.answer(b"no such file", 404)
        else:
            self.serve(content)

    def serve(self, content: bytes) -> None:
        """Answer with the file or the requested range, like a correct server."""
        etag = {"ETag": f'"{len(content)}"'}
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if not start or self.headers.get("If-Range", etag["ETag"]) != etag["ETag"]:
            self.answer(content, 200, etag)
        elif start >= len(content):
            self.answer(b"", 416, {"Content-Range": f"bytes */{len(content)}"})
        else:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(content[start:], 206, {"Content-Range": span, **etag})

    def answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.begin(len(body), status, headers)
        self.wfile.write(body)

    def begin(self, length: int | None, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        content_type = {"Content-Type": "application/octet-stream", **(headers or {})}
        length_header = {"Connection": "close"} if length is None else {"Content-Length": str(length)}
        for name, value in (content_type | length_header).items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = length is None

    def log_message(self, *_: Any) -> None:
        """Print no log; the server stores the requests."""


Fault = Callable[[Handler, bytes], None]


@dataclass
class ModelServer:
    """Serve ``files`` (by path). ``faults`` apply to the next requests; ``requests`` stores paths and headers."""

    files: dict[str, bytes] = field(default_factory=dict)
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def start(self) -> ThreadingHTTPServer:
        handler = type("Handler", (Handler,), {"models": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server

    @property
    def ranges(self) -> list[str]:
        """Return the Range header of each request; empty for the whole file."""
        return [headers.get("Range", "") for _, headers in self.requests]


def answer_busy(status: int, retry_after: str = "") -> Fault:
    headers = {"Retry-After": retry_after} if retry_after else {}
    return lambda handler, _: handler.answer(b"busy", status, headers)


def answer_with(content: bytes, content_type: str = "application/octet-stream") -> Fault:
    """Return a fault that answers with other content."""
    return lambda handler, _: handler.answer(content, 200, {"Content-Type": content_type})


def truncate(handler: Handler, content: bytes) -> None:
    """Declare the full length, send half of the file and close the connection."""
    handler.begin(len(content))
    handler.wfile.write(content[: len(content) // 2])
    handler.close_connection = True


def stall(handler: Handler, content: bytes) -> None:
    """Send half of the file, then wait until the test continues."""
    handler.begin(len(content))
    handler.wfile.write(content[: len(content) // 2])
    handler.models.reached.set()
    handler.models.released.wait(30)
    handler.close_connection = True


def hold(handler: Handler, content: bytes) -> None:
    """Wait until the test continues, then send the file."""
    handler.models.reached.set()
    handler.models.released.wait(30)
    handler.serve(content)


def send_endlessly(handler: Handler, content: bytes) -> None:
    """Declare no length and send until the client disconnects."""
    handler.begin(None)
    try:
        while not handler.models.released.is_set():
            handler.wfile.write(content)
    except OSError:
        handler.close_connection = True


def redirect_to(address: str) -> Fault:
    return lambda handler, _: handler.answer(b"", 302, {"Location": address})
