"""Follow the workers of a cluster: probe each that joins, and notice those that leave."""

from __future__ import annotations

import importlib.metadata
import platform
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from distributed import CancelledError, Client
from distributed.client import ClosedClientError

from tasks.batch.probe import ProbeReport, ProbeRequest, Versions, probe_worker, read_versions

_LOOK_SECONDS = 1.0  # between looks at the list of workers; events of the scheduler make them earlier
_PROBE_THREADS = 16
_EVENTS = "all"  # Dask's topic with the workers that join and leave
_NO_HEADRACE = "has no Headrace, or another version"


@dataclass(frozen=True)
class Joined:
    """A worker that has been probed. ``versions`` is None if it did not tell them."""

    address: str
    threads: int
    report: ProbeReport
    versions: Versions | None = None


@dataclass(frozen=True)
class Change:
    """The workers that have joined and left since the last change, and those that have not answered yet."""

    joined: tuple[Joined, ...] = ()
    left: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()


@dataclass
class _Known:
    threads: int
    since: float = field(default_factory=time.monotonic)
    is_probed: bool = False


class Membership:
    """Context that calls ``on_change`` from a thread when the workers of a cluster change."""

    def __init__(self, client: Client, request: ProbeRequest, on_change: Callable[[Change], None]) -> None:
        self._client = client
        self._request = request
        self._on_change = on_change
        self._known: dict[str, _Known] = {}
        self._answers: list[Joined] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._is_over = False
        self._probes = threading.BoundedSemaphore(_PROBE_THREADS)
        self._thread = threading.Thread(target=self._watch, name="headrace-membership", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._client.subscribe_topic(_EVENTS, self._take_event)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread, without waiting for workers that do not answer."""
        self._is_over = True
        self._wake.set()
        with suppress(Exception):
            self._client.unsubscribe_topic(_EVENTS)

    def _take_event(self, event: tuple[float, Any]) -> None:
        message = event[1]
        if isinstance(message, dict) and message.get("action") in ("add-worker", "remove-worker"):
            self._wake.set()

    def _watch(self) -> None:
        is_first = True
        while not self._is_over:
            self._wake.clear()
            threads = self._list_threads()
            if threads is not None:
                change = self._compare(threads)
                if is_first or change.joined or change.left:
                    self._on_change(change)
                is_first = False
            self._wake.wait(_LOOK_SECONDS)

    def _list_threads(self) -> dict[str, int] | None:
        """Return the threads of all workers; None if the scheduler does not answer, which is handled elsewhere."""
        try:
            return dict(self._client.nthreads())
        except (OSError, CancelledError, ClosedClientError):
            return None

    def _compare(self, threads: dict[str, int]) -> Change:
        """Start probes of new workers; return what has changed."""
        with self._lock:
            left = tuple(address for address in self._known if address not in threads)
            for address in left:
                del self._known[address]
            for address, count in threads.items():
                if address not in self._known:
                    self._known[address] = _Known(count)
                    arguments = address, count
                    threading.Thread(target=self._probe, args=arguments, name="headrace-probe", daemon=True).start()
            answers, self._answers = self._answers, []
            pending = tuple(address for address, known in self._known.items() if not known.is_probed)
        return Change(tuple(answer for answer in answers if answer.address in threads), left, pending)

    def _probe(self, address: str, threads: int) -> None:
        with self._probes:
            versions = self._ask_versions(address)
            answer = self._ask(address, probe_worker, self._request)
        if not isinstance(answer, ProbeReport):
            answer = ProbeReport(address, (_describe_refusal(answer, versions),))
        with self._lock:
            if known := self._known.get(address):
                known.is_probed = True
                self._answers.append(Joined(address, threads, answer, versions))
        self._wake.set()

    def _ask_versions(self, address: str) -> Versions | None:
        """Return the versions of a worker, by functions of Python that every version of Headrace has."""
        headrace = self._ask(address, importlib.metadata.version, "headrace")
        python = self._ask(address, platform.python_version)
        if isinstance(python, str):
            return Versions(headrace if isinstance(headrace, str) else "unknown", python)
        return None

    def _ask(self, address: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return the result of a function in a worker, or its exception; None if the worker is gone."""
        try:
            return self._client.run(function, *arguments, workers=[address], on_error="return").get(address)
        except Exception as error:  # noqa: BLE001 - a worker with other versions may send any error
            return error


def _describe_refusal(answer: Any, versions: Versions | None) -> str:
    """Return the problem of a worker that could not run the probe."""
    if isinstance(answer, ImportError | AttributeError):
        return f"{_NO_HEADRACE} ({answer}); install {read_versions()}"
    told = f" ({versions})" if versions else ""
    return f"does not answer{told}: {type(answer).__name__}: {answer}" if answer else f"does not answer{told}"
