"""Emulate containers: a PID namespace with its own /proc, on the host's name."""

from __future__ import annotations

import subprocess

import pytest

CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
FOREIGN_PROC = ("unshare", "--pid", "--fork", "--kill-child")  # /proc shows the host's pids


def require_containers() -> None:
    """Skip the test if namespaces are not permitted."""
    try:
        attempt = subprocess.run([*CONTAINER, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("unshare is missing: apt-get install util-linux")
    if attempt.returncode:
        pytest.skip(f"PID namespaces are not permitted: {attempt.stderr.strip()}")


def add_clock_step(step_seconds: int, stat_file: str, command: list[str]) -> list[str]:
    """Return a command that runs ``command`` as after a step of the wall clock.

    Linux derives the time of boot in /proc/stat from the wall clock. A test cannot set the machine's clock, so the
    command sees another /proc/stat.
    """
    shift = f"awk '/^btime/ {{ $2 += {step_seconds} }} {{ print }}' /proc/stat > {stat_file}"
    mount = f"mount --bind {stat_file} /proc/stat"
    return ["unshare", "--mount", "sh", "-c", f'{shift} && {mount} && exec "$@"', "sh", *command]
