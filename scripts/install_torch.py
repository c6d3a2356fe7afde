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

from environment import pip_settings, uv_variables
from packaging.requirements import Requirement

LOCK = "requirements-dev.lock"
# An index may hold the newest release without its CPU build; some older ones are looked at before CUDA is taken.
RELEASES = 8


class Installer:
    """uv, for one environment and its lock."""

    def __init__(self, python: Path, lock: Path, variables: Mapping[str, str]) -> None:
        uv = python.with_name("uv")
        self.command = [str(uv), "pip", "install", "--python", str(python), "--constraints", str(lock)]
        self.variables = dict(variables)

    def would_install(self, requirement: str) -> str | None:
        """The version of torch that ``requirement`` leads to; None where nothing satisfies it. Installs nothing."""
        command = [*self.command, "--dry-run", "--reinstall-package", "torch", requirement]
        ran = subprocess.run(command, env=self.variables, capture_output=True, text=True, check=False)
        found = re.search(r"^ [+~] torch==(\S+)", ran.stderr, re.MULTILINE)
        return found[1] if ran.returncode == 0 and found else None

    def install(self, requirement: str) -> None:
        """Install it. Raises CalledProcessError; uv says why."""
        command = [*self.command, "--quiet", "--compile-bytecode", requirement]
        subprocess.run(command, env=self.variables, check=True)


def main() -> int:
    """Install torch where it is not there yet; the exit code."""
    wanted = requirement(Path("pyproject.toml"))
    installed = present()
    if installed and Requirement(wanted).specifier.contains(installed):
        print(f"torch {installed} is there")
        return 0
    variables = {**os.environ, **uv_variables(pip_settings(os.environ), os.environ)}
    installer = Installer(Path(sys.executable), Path(LOCK), variables)
    chosen = choose(installer, wanted)
    print(f"installing {chosen}")
    try:
        installer.install(chosen)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"torch was not installed: {error}\n")
        return 1
    return 0


def requirement(project: Path) -> str:
    """What the project asks of torch in its extra, ``torch>=...``."""
    [wanted] = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["optional-dependencies"]["torch"]
    return str(wanted)


def present() -> str | None:
    """The version of torch in this environment; None without."""
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return None


def choose(installer: Installer, wanted: str) -> str:
    """The newest CPU build that ``wanted`` allows; ``wanted`` itself where there is none."""
    for version in releases(installer, wanted):
        build = f"torch=={version}+cpu"
        if installer.would_install(build):
            return build
    return wanted


def releases(installer: Installer, wanted: str) -> Iterator[str]:
    """Versions that ``wanted`` allows, without their builds, the newest first."""
    asked = wanted
    for _ in range(RELEASES):
        found = installer.would_install(asked)
        if found is None:
            return
        version = found.partition("+")[0]
        yield version
        asked = f"{wanted},<{version}"


if __name__ == "__main__":
    sys.exit(main())
