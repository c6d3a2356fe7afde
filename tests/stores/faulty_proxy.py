"""An HTTP proxy before a store that drops, delays, truncates or refuses a share of the requests, and counts them."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

_SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_MAX_DELAY_SECONDS = 0.2
FAULTS = ("drop request", "drop answer", "truncate", "delay", "503", "429", "500")


class FaultyProxy:
    """A proxy for the server at ``url``. ``share``: of the requests that fail, from 0 to 1."""

    def __init__(self, url: str, share: float, seed: int = 0) -> None:
        parts = urlsplit(url)
        self._target = parts.hostname, parts.port
        self.share = share
        self.faults: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self.url = ""

    @contextlib.contextmanager
    def run(self) -> Iterator[FaultyProxy]:
        """Serve in a thread."""
        thread = threading.Thread(target=self._serve, daemon=True)
        thread.start()
        self._ready.wait()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._handle, "127.0.0.1", 0, limit=2**20))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._handle_request(reader, writer):
                pass
        with contextlib.suppress(OSError):
            writer.close()

    async def _handle_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Pass one request on; return False if the connection is over."""
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        if "expect" in headers:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            head = b"\r\n".join(line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:"))
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method = lines[0].partition(" ")[0]
        self.requests[method] += 1
        fault = self._random.choice(FAULTS) if self._random.random() < self.share else ""
        self.faults[fault] += 1
        if fault == "drop request":
            return False
        if fault == "delay":
            await asyncio.sleep(self._random.random() * _MAX_DELAY_SECONDS)
        if fault.isdecimal():
            writer.write(_make_refusal(fault))
            await writer.drain()
            return True
        answer = await self._forward(head, body)
        if fault == "drop answer":
            return False
        if fault == "truncate":
            writer.write(answer[: max(1, len(answer) * 2 // 3)])
            await writer.drain()
            return False
        writer.write(answer)
        await writer.drain()
        return True

    async def _forward(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._target)
        line, _, rest = head.partition(b"\r\n")
        writer.write(line + b"\r\nConnection: close\r\n" + rest + body)
        answer = await reader.read(-1)
        writer.close()
        head, _, content = answer.partition(b"\r\n\r\n")
        kept = [each for each in head.split(b"\r\n") if not each.lower().startswith(b"connection:")]
        return b"\r\n".join(kept) + b"\r\n\r\n" + content


def _make_refusal(status: str) -> bytes:
    wait = b"Retry-After: 0\r\n" if status == "429" else b""
    headers = f"Content-Type: application/xml\r\nContent-Length: {len(_SLOW_DOWN)}\r\n"
    return f"HTTP/1.1 {status} Refused\r\n{headers}".encode() + wait + b"\r\n" + _SLOW_DOWN
