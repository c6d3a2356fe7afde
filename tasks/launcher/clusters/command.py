"""The commands ``headrace cluster``: create certificates, check a cluster file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from tasks.launcher.terminal import print_output

Days = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=3650))]

app = App(help="Create certificates for a cluster, and check cluster files.", version_flags=[])


@app.command
def certificates(folder: Path, /, *, days: Days = 365) -> None:
    """Create a certificate authority, and certificates of scheduler, workers and client that it signs.

    Args:
        folder: Folder for the files; existing certificates are not replaced
        days: Days after which they expire
    """
    from tasks.launcher.clusters.certificates import CA_KEY_FILE, create_certificates

    for path in create_certificates(folder, days):
        print_output(str(path))
    print_output(f"valid for {days} days; keep {folder / CA_KEY_FILE} secret: it can admit others to the cluster")


@app.command
def check(file: Path, /) -> None:
    """Check a cluster file, without connecting to the cluster.

    Args:
        file: Cluster file
    """
    from tasks.launcher.clusters.reading import read_cluster_file

    settings = read_cluster_file(file)
    print_output(f"{file}: a cluster of type {settings.type}; all settings are valid")
