"""Start the upload service as a process, and use it as a program does."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.engine.processes import wait_until
from tests.flows.service import ROOT, Program, Service, find_free_port, start_program

TOKENS = {"anna": "token-of-anna-0123456789", "bert": "token-of-bert-0123456789"}
METRICS_TOKEN = "token-of-metrics-0123456789"
BYTES = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}
LASTING = {"done", "incomplete", "failed", "stopped"}
_CLIENT = httpx.Client(timeout=60, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


@dataclass(frozen=True)
class Web:
    """A running service. ``folder`` holds the uploads, ``tokens`` those of its users."""

    url: str
    folder: Path
    program: Program
    tokens: Mapping[str, str] = field(default_factory=lambda: TOKENS)

    def call(self, method: str, path: str, user: str = "anna", **options: Any) -> httpx.Response:
        """Send a request as a program of ``user``; an empty user sends no credentials."""
        headers = {"Authorization": f"Bearer {self.tokens[user]}"} if user else {}
        return _CLIENT.request(method, self.url + path, **{**options, "headers": headers | options.get("headers", {})})

    def create(
        self, size: int, name: str = "film.mp4", flow: str = "overlays", preset: str = "standard", user: str = "anna"
    ) -> httpx.Response:
        """Request a new upload."""
        pairs = {"filename": name, "flow": flow, "preset": preset}
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
        return self.call(
            "POST", "/api/uploads", user, headers={"Upload-Length": str(size), "Upload-Metadata": metadata}
        )

    def patch(self, upload_id: str, offset: int, data: bytes, user: str = "anna") -> httpx.Response:
        """Send bytes of an upload."""
        headers = {**BYTES, "Upload-Offset": str(offset)}
        return self.call("PATCH", f"/api/uploads/{upload_id}", user, headers=headers, content=data)

    def send(self, data: bytes, **options: Any) -> str:
        """Upload a file; return its id."""
        created = self.create(len(data), **options)
        assert created.status_code == 201, created.text
        upload_id = str(created.json()["id"])
        answer = self.patch(upload_id, 0, data, options.get("user", "anna"))
        assert answer.status_code == 204, answer.text
        return upload_id

    def read(self, upload_id: str, user: str = "anna") -> dict[str, Any]:
        """Return the status of an upload."""
        answer = self.call("GET", f"/api/uploads/{upload_id}", user)
        assert answer.status_code == 200, answer.text
        status: dict[str, Any] = answer.json()
        return status

    def wait_for(self, upload_id: str, *states: str, user: str = "anna") -> dict[str, Any]:
        """Return the status of an upload once it is in one of ``states``."""
        statuses: list[dict[str, Any]] = []

        def is_there() -> bool:
            statuses.append(self.read(upload_id, user))
            assert statuses[-1]["state"] in states or statuses[-1]["state"] not in LASTING, statuses[-1]
            return statuses[-1]["state"] in states

        wait_until(is_there, lambda: f"{states}, not {statuses[-1:]}; {self.program.log.read_text()}", 120, 0.3)
        return statuses[-1]

    def list_files(self) -> set[str]:
        """Return the files of all uploads, by their paths."""
        walk = os.walk(self.folder)  # which, unlike glob, allows that files vanish
        paths = (Path(folder, name) for folder, _, names in walk for name in names)
        return {path.relative_to(self.folder).as_posix() for path in paths} - {".lock", ".secret"}


@contextlib.contextmanager
def start_web(
    cwd: Path, service: Service, folder: Path | None = None, end: signal.Signals = signal.SIGINT, **settings: str
) -> Iterator[Web]:
    """Run the service on a free port; ``folder`` holds the uploads."""
    port, uploads = find_free_port(), folder or cwd / "uploads"
    own = {
        "HEADRACE_WEB_FOLDER": str(uploads),
        "HEADRACE_WEB_PORT": str(port),
        "HEADRACE_WEB_USERS": ",".join(f"{name}:{token}" for name, token in TOKENS.items()),
        "HEADRACE_WEB_METRICS_TOKEN": METRICS_TOKEN,
        "HEADRACE_WEB_RESERVE": "0",
        "HEADRACE_WEB_SWEEP_SECONDS": "0.5",
        "PYTHONPATH": str(ROOT),
    }
    variables = service.build_environment(**{**own, **settings})
    with start_program([sys.executable, "-m", "deployments.web"], cwd, variables, end) as program:
        web = Web(f"http://127.0.0.1:{port}", uploads, program)
        wait_until(lambda: _answers(web) or program.process.poll() is not None, program.log.read_text)
        assert program.process.poll() is None, program.log.read_text()
        yield web


def _answers(web: Web) -> bool:
    try:
        return web.call("GET", "/health", "").status_code == 200
    except httpx.HTTPError:
        return False
