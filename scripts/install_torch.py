"""Put the extra ``torch`` into the environment: a CPU build where the configured index has one, else the plain one.

    .venv/bin/python scripts/install_torch.py

It is in no lock: a plain torch brings gigabytes of CUDA with it, which nobody needs who only reads landmarks. What the
lock does hold keeps its version. A later set-up from a changed lock removes torch again.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from environment import build_uv_variables, read_pip_settings
from packaging.requirements import Requirement

LOCK = "requirements-dev.lock"
# An index may lack the CPU build of the newest release; this many releases are tried before the plain build.
MAX_RELEASES = 8


class Installer:
    """uv, for one environment and its lock."""

    def __init__(self, python: Path, lock: Path, variables: Mapping[str, str]) -> None:
        uv = python.with_name("uv")
        self.command = [str(uv), "pip", "install", "--python", str(python), "--constraints", str(lock)]
        self.variables = dict(variables)

    def resolve(self, requirement: str) -> str | None:
        """Return the version of torch that ``requirement`` resolves to; None if it cannot be satisfied."""
        command = [*self.command, "--dry-run", "--reinstall-package", "torch", requirement]
        ran = subprocess.run(command, env=self.variables, capture_output=True, text=True, check=False)
        match = re.search(r"^ [+~] torch==(\S+)", ran.stderr, re.MULTILINE)
        return match[1] if ran.returncode == 0 and match else None

    def install(self, requirement: str) -> None:
        """Install ``requirement``. Raises CalledProcessError; uv prints the reason."""
        command = [*self.command, "--quiet", "--compile-bytecode", requirement]
        subprocess.run(command, env=self.variables, check=True)


def main() -> int:
    """Install torch unless it is installed; return the exit code."""
    wanted = read_requirement(Path("pyproject.toml"))
    installed = find_installed_version()
    if installed and Requirement(wanted).specifier.contains(installed):
        print(f"torch {installed} is installed already")
        return 0
    variables = {**os.environ, **build_uv_variables(read_pip_settings(os.environ), os.environ)}
    installer = Installer(Path(sys.executable), Path(LOCK), variables)
    chosen = choose(installer, wanted)
    print(f"installing {chosen}")
    try:
        installer.install(chosen)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"torch was not installed: {error}\n")
        return 1
    return 0


def read_requirement(project: Path) -> str:
    """Return the requirement of the project's extra ``torch``."""
    [wanted] = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]["torch"]
    return str(wanted)


def find_installed_version() -> str | None:
    """Return the version of torch in this environment; None if it is missing."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def choose(installer: Installer, wanted: str) -> str:
    """Return the newest CPU build that ``wanted`` allows, or ``wanted`` if there is none."""
    for version in list_releases(installer, wanted):
        build = f"torch=={version}+cpu"
        if installer.resolve(build):
            return build
    return wanted


def list_releases(installer: Installer, wanted: str) -> Iterator[str]:
    """Yield versions that ``wanted`` allows, without their builds, the newest first."""
    asked = wanted
    for _ in range(MAX_RELEASES):
        resolved = installer.resolve(asked)
        if resolved is None:
            return
        version = resolved.partition("+")[0]
        yield version
        asked = f"{wanted},<{version}"


if __name__ == "__main__":
    sys.exit(main())
