"""Open the cluster of a run: connect to a scheduler that runs already, or start one with its workers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client, SpecCluster

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.text import one_line
from tasks.engine.store.layout import Layout
from tasks.launcher.cluster import CONNECT_SECONDS, configure_remote_client, get_scheduler_settings
from tasks.launcher.clusters.certificates import ROLES
from tasks.launcher.clusters.jobs import DEATH_SECONDS, make_job_cluster
from tasks.launcher.clusters.leftovers import name_jobs, note_jobs
from tasks.launcher.clusters.processes import make_process_cluster
from tasks.launcher.clusters.queues import get_queue
from tasks.launcher.clusters.scaling import Scaler, SimpleScaler
from tasks.launcher.clusters.security import load_security, warn_about_plain_text
from tasks.launcher.clusters.settings import (
    AddressSettings,
    AnySettings,
    CloudSettings,
    JobSettings,
    KubernetesSettings,
    LocalSettings,
    LsfSettings,
    PbsSettings,
    ScalingSettings,
    SlurmSettings,
    SshSettings,
    TlsSettings,
)
from tasks.launcher.extras import check_extra

LOG_FILE = "workers.log"  # of the workers of the type local
_LOOPBACK = "127.0.0.1"
_CLOSE_SECONDS = 30.0
_EXTRAS = {"slurm": "jobs", "pbs": "jobs", "lsf": "jobs", "ssh": "ssh", "kubernetes": "kubernetes"}
Say = Callable[[str], None]


@dataclass(frozen=True)
class OpenCluster:
    """A cluster that can be used.

    title     its name for messages: the address of its scheduler, or its type
    target    what a client connects to: an address, or a cluster object of Dask
    security  certificates for the client; None for plain TCP
    manager   scales it; None if its workers are started by others
    """

    title: str
    target: Any
    security: Any = None
    manager: Scaler | None = None


@contextmanager
def open_cluster(settings: AnySettings, run_id: str, layout: Layout, say: Say) -> Iterator[OpenCluster]:
    """Yield the cluster of a run into ``layout``; end what was started for it.

    Raises RunError if the cluster cannot be started or reached.
    """
    if extra := _EXTRAS.get(settings.type):
        check_extra(f"the cluster type {settings.type}", extra)
    is_running = isinstance(settings, AddressSettings)
    folder = settings.tls if isinstance(settings, TlsSettings) else None
    security = load_security(folder, ("client",) if is_running else ROLES)
    with configure_remote_client():
        if isinstance(settings, AddressSettings):
            check_scheduler(settings.address, security)
            warn_about_plain_text(settings.address, say)
            yield OpenCluster(settings.address, settings.address, security)
            return
        private = layout.private / run_id
        with ExitStack() as stack:
            stack.enter_context(dask.config.set(get_scheduler_settings()))
            if isinstance(settings, SlurmSettings | PbsSettings | LsfSettings):
                stack.enter_context(note_jobs(layout, run_id, settings.type))
            cluster = _start(settings, name_jobs(run_id), private, security)
            stack.callback(_close, cluster, say)
            warn_about_plain_text(cluster.scheduler_address, say)
            manager = None if isinstance(settings, SshSettings) else _make_scaler(settings, cluster, private)
            if manager:
                stack.enter_context(manager)
            yield OpenCluster(settings.type, cluster, security, manager)


def check_scheduler(address: str, security: Any = None) -> None:
    """Raise RunError if no Dask scheduler answers at ``address``."""
    try:
        with Client(address, timeout=CONNECT_SECONDS, set_as_default=False, security=security):
            pass
    except (OSError, ValueError) as error:
        cause = one_line(str(error.__cause__ or error))
        raise RunError(
            f"no Dask scheduler answers at {address}: {cause}; start one, or leave --scheduler out"
        ) from None


def _start(settings: AnySettings, name: str, folder: Path, security: Any) -> Any:
    """Start a cluster. Raises RunError if that fails."""
    try:
        if isinstance(settings, LocalSettings):
            return _start_processes(settings, name, folder, security)
        if isinstance(settings, JobSettings):
            place = {"host": settings.host} if settings.host else {}
            options = {**_scheduler_options(security), **place}
            return make_job_cluster(settings, name, options, security)
        if isinstance(settings, SshSettings):
            return _start_ssh(settings, security)
        if isinstance(settings, KubernetesSettings):
            return _start_kubernetes(settings, name)
        assert isinstance(settings, CloudSettings)
        return _start_class(settings.class_name, settings.arguments)
    except RunError:
        raise
    except Exception as error:  # noqa: BLE001 - libraries of clusters raise any error, for example of ssh or HTTP
        cause = one_line(str(error.__cause__ or error)) or type(error).__name__
        raise RunError(f"the cluster ({settings.type}) cannot be started: {cause}") from None


def _scheduler_options(security: Any) -> dict[str, Any]:
    return {
        "port": 0,
        "dashboard": False,
        "dashboard_address": f"{_LOOPBACK}:0",
        "protocol": "tls://" if security else "tcp://",
        "security": security,
    }


def _start_processes(settings: LocalSettings, name: str, folder: Path, security: Any) -> Any:
    options = [
        *("--nthreads", str(settings.threads), "--memory-limit", str(int(settings.memory or 0))),
        *("--host", _LOOPBACK, "--no-nanny", "--no-dashboard", "--dashboard-address", f"{_LOOPBACK}:0"),
        *("--local-directory", settings.scratch or str(folder), "--death-timeout", str(DEATH_SECONDS)),
    ]
    if security:
        roles = security.get_tls_config_for_role("worker")
        options += ["--tls-ca-file", roles["ca_file"], "--tls-cert", roles["cert"], "--tls-key", roles["key"]]
    environment = {"DASK_DISTRIBUTED__WORKER__HTTP__ROUTES": "[]", **settings.environment}
    if settings.scratch:
        environment["TMPDIR"] = settings.scratch
    worker = {"options": options, "environment": environment, "log": folder / LOG_FILE}
    return make_process_cluster(name, {**_scheduler_options(security), "host": _LOOPBACK}, worker, security)


def _start_ssh(settings: SshSettings, security: Any) -> Any:
    from distributed import SSHCluster

    given = {
        "username": settings.user,
        "port": settings.port,
        "client_keys": [str(Path(settings.key).expanduser())] if settings.key else None,
        "known_hosts": str(Path(settings.known_hosts).expanduser()) if settings.known_hosts else None,
    }
    protocol = {"protocol": "tls://"} if security else {}
    worker = {
        "nthreads": settings.threads,
        "memory_limit": int(settings.memory) if settings.memory else None,
        "local_directory": settings.scratch,
        "dashboard": False,
        "death_timeout": DEATH_SECONDS,
        **protocol,
    }
    return SSHCluster(
        [settings.scheduler or settings.hosts[0], *settings.hosts],
        connect_options={name: value for name, value in given.items() if value is not None},
        worker_options={name: value for name, value in worker.items() if value is not None},
        scheduler_options={"port": 0, "dashboard": False, **protocol},
        remote_python=settings.python or sys.executable,
        security=security,
    )


def build_kubernetes_options(settings: KubernetesSettings, name: str) -> dict[str, Any]:
    """Return the arguments of dask_kubernetes' KubeCluster."""
    memory = ["--memory-limit", str(int(settings.memory))] if settings.memory else []
    scratch = ["--local-directory", settings.scratch] if settings.scratch else []
    options: dict[str, Any] = {
        "name": settings.name or name.lower(),
        "namespace": settings.namespace,
        "image": settings.image,
        "n_workers": settings.minimum,
        "resources": settings.resources or None,
        "env": settings.environment,
        "worker_command": ["dask", "worker", "--nthreads", str(settings.threads), *memory, *scratch],
        "quiet": True,
    }
    return {key: value for key, value in options.items() if value is not None}


def _start_kubernetes(settings: KubernetesSettings, name: str) -> Any:
    return _start_class("dask_kubernetes.operator.KubeCluster", build_kubernetes_options(settings, name))


def _start_class(dotted: str, arguments: Mapping[str, Any]) -> Any:
    """Create an object of a cluster class. Raises RunError if the class cannot be imported."""
    module, _, name = dotted.rpartition(".")
    try:
        cluster_class = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RunError(f"the cluster class {dotted} cannot be imported: {error}; install its package") from None
    return cluster_class(**arguments)


def _make_scaler(settings: ScalingSettings, cluster: Any, folder: Path) -> Scaler:
    kind = Scaler if isinstance(cluster, SpecCluster) else SimpleScaler
    figures = settings.minimum, settings.maximum, settings.threads, settings.idle_seconds
    if isinstance(settings, SlurmSettings | PbsSettings | LsfSettings):
        return kind(cluster, *figures, get_queue(settings.type), settings.logs or "")
    return kind(cluster, *figures, logs=str(folder / LOG_FILE) if isinstance(settings, LocalSettings) else "")


def _close(cluster: Any, say: Say) -> None:
    """End a cluster with its workers."""
    try:
        cluster.close(timeout=_CLOSE_SECONDS)
    except Exception as error:  # noqa: BLE001 - libraries of clusters raise any error
        say(f"the cluster could not be ended: {one_line(str(error)) or type(error).__name__}; end its workers by hand")
