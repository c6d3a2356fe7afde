"""Run Prefect tasks on the Dask worker of this process, or on a chosen worker of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from typing import Any
from uuid import uuid4

from prefect.client.schemas.objects import RunInput, State
from prefect.futures import PrefectFuture
from prefect.task_engine import run_task_sync
from prefect.tasks import Task
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture


class RemoteTaskRunner(DaskTaskRunner):
    """Runs each task on a worker that the run has chosen."""

    def submit_to(self, worker: str, task: Task[Any, Any], parameters: dict[str, Any]) -> PrefectDaskFuture[Any]:
        """Submit a task to the worker at this address; its future gives the final state."""
        future = self.client.submit(
            task, parameters=parameters, wait_for=None, dependencies=None, return_type="state", workers=[worker]
        )
        return PrefectDaskFuture(task_run_id=future.task_run_id, wrapped_future=future)


_calls: dict[str, Callable[[], Any]] = {}


class InProcessTaskRunner(DaskTaskRunner):
    """Runs each task in a copy of the flow's context, like Prefect's own runner for threads.

    DaskTaskRunner assumes another process: for every task it serializes all of Prefect's settings and reads them again,
    which takes longer than the rest of the task run.
    """

    def submit(  # type: ignore[override]  # the flows here have no asynchronous tasks
        self,
        task: Task[Any, Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[RunInput]] | None = None,
    ) -> PrefectDaskFuture[Any]:
        """Submit a task; its future gives the final state."""
        task_run_id = uuid4()
        key = f"{task.name}-{task_run_id}"
        _calls[key] = partial(
            copy_context().run,
            run_task_sync,
            task=task,
            task_run_id=task_run_id,
            parameters=parameters,
            wait_for=wait_for,
            return_type="state",
            dependencies=dependencies,
        )
        future = self.client.submit(_run_call, key, key=key, pure=False)
        return PrefectDaskFuture(task_run_id=task_run_id, wrapped_future=future)


def _run_call(key: str) -> State[Any]:
    """Run a submitted task. Dask passes only its key, because a context cannot be pickled."""
    state: State[Any] = _calls.pop(key)()
    return state
