"""The command `headrace serve`. It loads ``site.py``, which runs it, so that other commands start quickly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

Port = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65535))]


def serve(
    *, folder: Path = Path(), host: str = "127.0.0.1", port: Port | None = None, prefect_port: Port | None = None
) -> int:
    """Run the Prefect server, a worker, the inbox and the upload service until Ctrl+C.

    Parts that end are started again. Runs continue after a restart.

    Args:
        folder: Working folder: inputs are in its folder data, passwords, database and uploads in data/serve
        host: Address to listen on; 0.0.0.0 allows other machines. A password is always required
        port: Port of the upload service (default: 4280 or, if it is in use, any free port)
        prefect_port: Port of the Prefect server (default: 4200 or, if it is in use, any free port)
    """
    from deployments.supervision.site import serve_site

    serve_site(folder.expanduser().absolute(), host, port, prefect_port)
    return 0
