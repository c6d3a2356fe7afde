"""Register everything on a Prefect server: ``python -m deployments.register``.

Creates the work pool, registers ``prefect.yaml`` and applies the automations. The current folder becomes the working
directory of runs. If nothing has changed since the last time, the command changes nothing. So schedules, parameters and
automations that were changed in the UI stay after a restart. The server keeps the digest of all that was registered in
the variable ``headrace_registered``.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.variables import Variable
from prefect.workers.process import ProcessWorker

from deployments import apply_automations
from deployments.pool import POOL
from deployments.problems import NO_SERVER
from tasks.engine.contract.errors import RunError
from tasks.launcher.terminal import print_line, print_problems, report_errors

_DEPLOYMENTS = Path(__file__).resolve().with_name("prefect.yaml")
_FLOWS = Path(__file__).resolve().parents[1] / "flows"
_VARIABLE = "headrace_registered"


def main() -> int:
    """Register what has changed; return the exit code."""
    return report_errors(_register)


def _register() -> int:
    if not PREFECT_API_URL.value():
        return print_problems([NO_SERVER])
    digest = compute_digest(Path.cwd())
    if Variable.get(_VARIABLE) == digest:
        print_line("pool, deployments and automations are registered already")
        return 0
    with get_client(sync_client=True) as client:
        _create_pool(client)
    _deploy()
    if code := apply_automations.main([]):
        return code
    Variable.set(_VARIABLE, digest, overwrite=True)
    return 0


def compute_digest(folder: Path) -> str:
    """Return a digest of everything that is registered: deployments, signatures, automations, working directory."""
    digest = hashlib.sha256(f"{importlib.metadata.version('headrace')}\0{folder}".encode())
    for path in (_DEPLOYMENTS, *sorted(apply_automations.FOLDER.glob("*.yaml")), *sorted(_FLOWS.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _create_pool(client: SyncPrefectClient) -> None:
    """Create the work pool unless it exists."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template))


def _deploy() -> None:
    """Register all deployments. Raises RunError."""
    command = [
        sys.executable,
        "-P",
        "-m",
        "prefect",
        "--no-prompt",
        "deploy",
        "--all",
        "--prefect-file",
        str(_DEPLOYMENTS),
    ]
    code = subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode
    if code:
        raise RunError(f"`prefect deploy --all` ended with exit code {code}; its output says why")


if __name__ == "__main__":
    raise SystemExit(main())
