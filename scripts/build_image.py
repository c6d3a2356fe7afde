"""Run the build steps of deployments/Dockerfile in a chroot: proof of the image on machines without a container engine.

    python scripts/build_image.py ROOT [--python PREFIX] [--bind FOLDER]...

ROOT is created as a minimal Debian of the release that FROM names, by mmdebstrap. ``--python`` is the prefix of a
Python like the one in the image, which is copied to /usr/local. Without it, Debian's own is used, in an environment.
``--bind`` shows a folder of this machine in the chroot, for example one with packages. After the last step, an
unprivileged user runs the commands of compose.yaml in the chroot with ``--help``. Needs root, mmdebstrap and unshare.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "deployments" / "Dockerfile"
# What Python in /usr/local is linked to, as in the image; pip reads certificates.
_LIBRARIES = "ca-certificates libbz2-1.0 libexpat1 libffi8 liblzma5 libreadline8 libsqlite3-0 libssl3 libuuid1 zlib1g"
_KEPT_VARIABLES = re.compile(r"PIP_|(?:https?|no)_proxy$", re.IGNORECASE)
_CHECKS = (
    "id --user",
    "headrace --version",
    "headrace flows",
    "prefect server start --help",
    "prefect server services start --help",
    "prefect worker start --help",
    "python deployments/inbox.py --help",
    "python -c 'import deployments.register, deployments.web.app, prefect_redis'",
    "touch data/file uploads/file $PREFECT_HOME/file $HEADRACE_CACHE/file",
)


@dataclass(frozen=True)
class Step:
    """An instruction of a Dockerfile, such as ``RUN`` with its text."""

    name: str
    text: str


@dataclass
class Image:
    """The chroot while it is built: its folder, bound folders, variables and working folder."""

    root: Path
    binds: Sequence[Path]
    variables: dict[str, str] = field(default_factory=dict)
    folder: str = "/"

    def run(self, command: str, user: int = 0) -> None:
        """Run a shell command in the chroot, with /proc and /dev. Raises CalledProcessError."""
        mounts = [f"mount -t proc proc {self._quote('proc')}", f"mount --rbind /dev {self._quote('dev')}"]
        mounts += [f"mount --bind {shlex.quote(str(path))} {self._quote(path)}" for path in self.binds]
        words = ["exec", "chroot", f"--userspec={user}:{user}", str(self.root), "sh", "-c", self._enter(command)]
        script = " && ".join([*mounts, shlex.join(words)])
        subprocess.run(["unshare", "--mount", "sh", "-c", script], check=True, env=self._build_environment())

    def _enter(self, command: str) -> str:
        return f"cd {shlex.quote(self.folder)} && {command}"

    def _quote(self, path: str | Path) -> str:
        return shlex.quote(str(self.root / str(path).lstrip("/")))

    def _build_environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if _KEPT_VARIABLES.match(name)}
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {**kept, "HOME": "/root", "PATH": path, "LANG": "C.UTF-8", **self.variables}

    def apply(self, step: Step) -> None:
        """Do what an instruction says."""
        if step.name == "RUN":
            self.run(step.text)
        elif step.name == "ENV":
            self.variables.update(word.split("=", 1) for word in shlex.split(step.text))
        elif step.name == "WORKDIR":
            self.folder = step.text
            self._locate(step.text).mkdir(parents=True, exist_ok=True)
        elif step.name == "COPY":
            self._copy(*step.text.split())
        else:
            raise SystemExit(
                f"error: the instruction {step.name} is unknown to this script; allowed: RUN ENV WORKDIR COPY"
            )

    def _copy(self, *names: str) -> None:
        """Copy files, or the content of one folder, to the last name."""
        *sources, target = names
        place = self._locate(target)
        for source in sources:
            if (ROOT / source).is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / source, place, ignore=ignore, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy(ROOT / source, place)

    def _locate(self, name: str) -> Path:
        return self.root / os.path.normpath(Path(self.folder, name)).lstrip("/")


def read_steps(text: str) -> Iterator[Step]:
    """Yield the instructions of a Dockerfile, without comments, continued lines joined."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield Step(name.upper(), rest.strip())


def create_root(root: Path, base: str, python: Path | None) -> None:
    """Create the stand-in for the image ``base``, such as ``python:3.12-slim-bookworm``."""
    release = base.rpartition("-")[2]
    packages = _LIBRARIES.split() + ([] if python else ["python3", "python3-venv"])
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", release, str(root)]
    subprocess.run(command, check=True)
    for name in ("etc/pip.conf", "etc/resolv.conf", "etc/hosts"):
        if Path("/", name).is_file():
            shutil.copy(Path("/", name), root / name)
    if python:
        shutil.copytree(python, root / "usr/local", symlinks=True, dirs_exist_ok=True)


def prepare_python(image: Image, python: Path | None) -> None:
    """Let ``python`` and ``pip`` in /usr/local work, as in the image."""
    if python is None:
        image.run("python3 -m venv /usr/local")
        return
    for script in (image.root / "usr/local/bin").glob("pip*"):
        lines = script.read_text(encoding="utf-8").splitlines(keepends=True)
        script.write_text("".join(["#!/usr/local/bin/python3\n", *lines[1:]]), encoding="utf-8")
    image.run("ldconfig")


def main(arguments: Sequence[str]) -> int:
    """Build and check the image; return the exit code."""
    options = _parse(arguments)
    first, *steps = read_steps(DOCKERFILE.read_text(encoding="utf-8"))
    if options.root.exists():
        sys.stderr.write(f"error: {options.root} exists; remove it, or name a new folder\n")
        return 2
    create_root(options.root, first.text, options.python)
    image = Image(options.root.absolute(), options.bind)
    for path in options.bind:
        (image.root / str(path).lstrip("/")).mkdir(parents=True, exist_ok=True)
    prepare_python(image, options.python)
    try:
        for step in steps:
            print(f"--- {step.name} {step.text}", flush=True)
            image.apply(step)
        for check in _CHECKS:
            print(f"--- as an unprivileged user: {check}", flush=True)
            image.run(f"{check} >/tmp/output 2>&1 || {{ cat /tmp/output; exit 1; }}; head -n 3 /tmp/output", user=1000)
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"error: the step above ended with exit code {error.returncode}\n")
        return 1
    print("all steps and checks passed")
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the build steps of deployments/Dockerfile in a chroot.")
    parser.add_argument("root", type=Path, help="folder of the chroot, which must not exist")
    parser.add_argument("--python", type=Path, help="prefix of a Python, which is copied to /usr/local")
    parser.add_argument("--bind", type=Path, action="append", default=[], help="folder to show in the chroot")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
