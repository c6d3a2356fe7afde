"""Stand in for the commands of SLURM, PBS and LSF: scripts that start real processes for jobs, and end them in time.

``python batch_system.py COMMAND ARGUMENTS``, with the state of the queue in the folder $BATCH_SYSTEM:

    hold        while this file exists, jobs wait
    JOB/script  the script of a job; JOB/name, JOB/seconds, JOB/state
    JOB/cancel  written by the command that ends the job
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

STATE = "BATCH_SYSTEM"
COMMANDS = ("sbatch", "squeue", "scancel", "qsub", "qstat", "qdel", "qselect", "bsub", "bjobs", "bkill")
_TICK_SECONDS = 0.05
_KILL_SECONDS = 3.0  # between SIGTERM and SIGKILL


def install_commands(folder: Path) -> None:
    """Write a script for each command to ``folder``."""
    folder.mkdir()
    for name in COMMANDS:
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{__file__}" {name} "$@"\n')
        script.chmod(0o755)


def list_scripts(state: Path) -> list[Path]:
    """Return the scripts of all jobs, in the order of their submission."""
    return sorted(state.glob("*/script"), key=lambda path: int(path.parent.name))


def list_running(state: Path) -> list[str]:
    """Return the ids of the jobs that have not ended."""
    return [job.name for job in _list_jobs(state)]


def read_group(state: Path, job: str) -> int:
    """Return the process group of a job that runs."""
    return int((state / job / "group").read_text())


def _list_jobs(state: Path) -> list[Path]:
    jobs = sorted((path.parent for path in state.glob("*/state")), key=lambda path: int(path.name))
    return [job for job in jobs if (job / "state").read_text() != "ENDED"]


def _submit(state: Path, script: str) -> str:
    number = 1
    while True:
        job = state / str(number)
        with suppress(FileExistsError):
            job.mkdir()
            break
        number += 1
    (job / "script").write_text(script)
    (job / "name").write_text(_find(script, r"^#(?:SBATCH -J|PBS -N|BSUB -J) (\S+)") or "job")
    (job / "seconds").write_text(str(_read_seconds(script)))
    (job / "state").write_text("PENDING")
    command = [sys.executable, "-S", __file__, "supervise", str(number)]
    null = subprocess.DEVNULL
    subprocess.Popen(command, start_new_session=True, stdin=null, stdout=null, stderr=null)
    return str(number)


def _find(script: str, pattern: str) -> str:
    found = re.search(pattern, script, re.MULTILINE)
    return found[1] if found else ""


def _read_seconds(script: str) -> int:
    if minutes := _find(script, r"^#BSUB -W (\d+:\d+)"):
        hours, minute = minutes.split(":")
        return int(hours) * 3600 + int(minute) * 60
    hours, minute, seconds = _find(script, r"^#(?:SBATCH -t |PBS -l walltime=)(\d+:\d+:\d+)").split(":")
    return int(hours) * 3600 + int(minute) * 60 + int(seconds)


def _supervise(state: Path, number: str) -> None:
    """Run a job when it may start, and end it at its walltime or when it is canceled."""
    job = state / number
    try:
        while (state / "hold").exists():
            if (job / "cancel").exists():
                return
            time.sleep(_TICK_SECONDS)
        (job / "state").write_text("RUNNING")
        with (job / "log").open("wb") as log:
            process = subprocess.Popen(
                ["bash", job / "script"],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "SLURM_JOB_ID": number},
            )
        (job / "group").write_text(str(process.pid))
        end = time.monotonic() + int((job / "seconds").read_text())
        while process.poll() is None and time.monotonic() < end and not (job / "cancel").exists():
            time.sleep(_TICK_SECONDS)
        (job / "reason").write_text("walltime" if time.monotonic() >= end else "canceled or ended")
        _end(process)
    finally:
        (job / "state").write_text("ENDED")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number, seconds in ((signal.SIGTERM, _KILL_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _cancel(state: Path, words: list[str]) -> None:
    names = [word.removeprefix("--name=") for word in words if word.startswith("--name=")]
    if words[:1] == ["-J"]:
        names = [words[1]]
    for job in _list_jobs(state):
        if job.name in words or (job / "name").read_text() in names:
            (job / "cancel").touch()


def _print_jobs(state: Path, form: str, waiting: tuple[str, str], running: tuple[str, str]) -> None:
    """Print a line per job in the form of a batch system, with the words for the states of jobs, and reasons."""
    for job in _list_jobs(state):
        word, reason = waiting if (job / "state").read_text() == "PENDING" else running
        print(form.format(id=job.name, name=(job / "name").read_text(), state=word, reason=reason))


def _print_ids(state: Path, name: str) -> None:
    print("\n".join(job.name for job in _list_jobs(state) if (job / "name").read_text() == name))


_COLUMNS = "{id}|{state}|{reason}"
_TABLE = "{id}.server me batch {name} 1 1 1 1gb 00:10 {state} 00:00"
_ACTIONS: dict[str, Callable[[Path, list[str]], None]] = {
    "supervise": lambda state, words: _supervise(state, words[0]),
    "sbatch": lambda state, words: print(f"Submitted batch job {_submit(state, Path(words[0]).read_text())}"),
    "qsub": lambda state, words: print(f"{_submit(state, Path(words[0]).read_text())}.server"),
    "bsub": lambda state, words: print(f"Job <{_submit(state, sys.stdin.read())}> is submitted to queue <normal>."),
    **dict.fromkeys(("scancel", "qdel", "bkill"), _cancel),
    "squeue": lambda state, _: _print_jobs(state, _COLUMNS, ("PENDING", "Priority"), ("RUNNING", "None")),
    "bjobs": lambda state, _: _print_jobs(state, _COLUMNS, ("PEND", "New job"), ("RUN", "-")),
    "qstat": lambda state, _: _print_jobs(state, _TABLE, ("Q", ""), ("R", "")),
    "qselect": lambda state, words: _print_ids(state, words[1]),
}


if __name__ == "__main__":
    _ACTIONS[sys.argv[1]](Path(os.environ[STATE]), sys.argv[2:])
