"""Containers, as far as process numbers go: a PID namespace with its own /proc, and the host's name."""

from __future__ import annotations

import subprocess

import pytest

CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
FOREIGN_PROC = ("unshare", "--pid", "--fork", "--kill-child")  # /proc shows the numbers of the host


def need_containers() -> None:
    """Skip the test if no namespaces may be made."""
    try:
        tried = subprocess.run([*CONTAINER, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is missing: apt-get install util-linux")
    if tried.returncode:
        pytest.skip(f"PID namespaces are not permitted: {tried.stderr.strip()}")


def with_stepped_clock(step_seconds: int, stat_file: str, command: list[str]) -> list[str]:
    """Return ``command`` so that it runs as after a step of the wall clock.

    Linux derives the time of boot in /proc/stat from the wall clock. A test cannot set the machine's clock, so the
    command sees another /proc/stat.
    """
    shift = f"awk '/^btime/ {{ $2 += {step_seconds} }} {{ print }}' /proc/stat > {stat_file}"
    mount = f"mount --bind {stat_file} /proc/stat"
    return ["unshare", "--mount", "sh", "-c", f'{shift} && {mount} && exec "$@"', "sh", *command]
