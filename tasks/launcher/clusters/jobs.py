"""Workers that are jobs of a batch system: SLURM, PBS or LSF."""

from __future__ import annotations

import importlib
import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from distributed.deploy.spec import ProcessInterface

from tasks.launcher.clusters.settings import JobSettings, LsfSettings, PbsSettings

DEATH_SECONDS = 60  # for which a worker looks for its scheduler; then its job ends
_CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}


def make_job_cluster(settings: JobSettings, name: str, scheduler: Mapping[str, Any], security: Any) -> Any:
    """Start a cluster without workers, whose jobs are called ``name``. ``scheduler``: options of the scheduler."""
    with _keeping_signals():
        jobqueue = importlib.import_module("dask_jobqueue")
    cluster_class = getattr(jobqueue, _CLASSES[getattr(settings, "type")])  # noqa: B009 - each type declares its own
    return cluster_class(
        name=name,
        job_cls=_make_job_class(cluster_class.job_cls),
        security=security,
        scheduler_options=dict(scheduler),
        silence_logs="error",
        **build_job_options(settings, name),
    )


@contextmanager
def _keeping_signals() -> Iterator[None]:
    """Restore the handler of Ctrl+C: a module of dask_jobqueue replaces it when it is imported."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _make_job_class(base: type[Any]) -> type[Any]:
    """Return a class of jobs that keep the error of their submission; Dask would only log it."""

    class SubmittedJob(base):  # type: ignore[misc]
        submit_error = ""

        async def start(self) -> None:
            try:
                await super().start()
            except FileNotFoundError as error:
                self.submit_error = f"{error.filename} is not installed on this machine"
                await ProcessInterface.start(self)
            except (OSError, RuntimeError, ValueError) as error:
                self.submit_error = f"{base.submit_command} failed: {_find_message(str(error))}"
                await ProcessInterface.start(self)

    SubmittedJob.__name__ = base.__name__
    return SubmittedJob


def _find_message(text: str) -> str:
    """Return what a command wrote to standard error, from the error that dask_jobqueue raises."""
    found = re.search(r"stderr:\n(.*)", text, re.DOTALL)
    return found[1].strip() if found and found[1].strip() else text


def build_job_options(settings: JobSettings, name: str) -> dict[str, Any]:
    """Return the options for the jobs of a cluster class of dask_jobqueue."""
    options: dict[str, Any] = {
        "cores": settings.threads,
        "processes": 1,
        "memory": f"{int(settings.memory)}B",
        "walltime": format_walltime(settings),
        "queue": settings.queue,
        "job_name": name,
        "job_extra_directives": list(settings.directives),
        "job_script_prologue": build_prologue(settings),
        "python": shlex.quote(settings.python or sys.executable),
        "interface": settings.interface,
        "death_timeout": DEATH_SECONDS,
        "local_directory": f'"{settings.scratch}"' if settings.scratch else None,
        "worker_extra_args": ["--no-dashboard"],
        "log_directory": settings.logs,
    }
    account = "project" if isinstance(settings, LsfSettings) else "account"
    resources = {"resource_spec": settings.resources} if isinstance(settings, PbsSettings) else {}
    return {**options, account: settings.account, **resources}


def format_walltime(settings: JobSettings) -> str:
    """Return the walltime in the form of the batch system."""
    minutes, seconds = divmod(settings.walltime, 60)
    hours, minutes = divmod(minutes, 60)
    if isinstance(settings, LsfSettings):  # which knows no seconds
        return f"{hours:02d}:{minutes:02d}" if not seconds else f"{hours:02d}:{minutes + 1:02d}"
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}"


def build_prologue(settings: JobSettings) -> list[str]:
    """Return the lines of the job script before the worker starts."""
    lines = [
        f"HEADRACE_DEADLINE=$(($(date +%s) + {settings.walltime}))",
        f"export HEADRACE_DEADLINE HEADRACE_WALLTIME={settings.walltime}",
        "export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'",
        "export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False",
    ]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in settings.environment.items()]
    if settings.scratch:
        lines += [f'mkdir -p "{settings.scratch}"', f'export TMPDIR="{settings.scratch}"']
    return [*lines, *settings.prologue]
