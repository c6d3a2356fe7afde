"""Refuses calls to the server of a run under other names than its own, and calls from pages of other sites.

A web page of another site cannot send the password, but it could reach the server under its own host name (DNS
rebinding) or open a WebSocket, to which browsers apply no CORS.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_WRONG_HOST, _FOREIGN_ORIGIN = 421, 403


class Guard:
    """An ASGI application that passes on to ``app`` only calls to ``hosts`` (name and port) from their own pages.

    ``on_ready`` is called when ``app`` has started, before it serves the first call.
    """

    def __init__(self, app: App, hosts: frozenset[str], on_ready: Callable[[], None]) -> None:
        self._app = app
        self._hosts = {host.encode() for host in hosts}
        self._origins = {f"http://{host}".encode() for host in hosts}
        self._on_ready = on_ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call, or start and stop ``app``."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, self._announcing(send))
        elif status := self._objection(scope):
            await _refuse(scope, send, status)
        else:
            await self._app(scope, receive, send)

    def _announcing(self, send: Send) -> Send:
        async def send_and_announce(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._on_ready()
            await send(message)

        return send_and_announce

    def _objection(self, scope: Scope) -> int | None:
        """Return the HTTP status that refuses the call, or None."""
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return _WRONG_HOST
        return None if set(origins) <= self._origins else _FOREIGN_ORIGIN


async def _refuse(scope: Scope, send: Send, status: int) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the client gets HTTP 403
        return
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
