"""The queues of batch systems: their jobs and their states, by their own commands."""

from __future__ import annotations

import getpass
import re
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.engine.contract.text import short_line

System = Literal["slurm", "pbs", "lsf"]
_SECONDS = 30.0  # for which an answer of a batch system is awaited
_PBS_STATES = {"Q": "queued", "R": "running", "H": "held", "E": "exiting", "S": "suspended", "W": "waiting"}


@dataclass(frozen=True)
class JobState:
    """The state of a job in the words of its batch system, and the reason if it waits."""

    state: str
    reason: str = ""


@dataclass(frozen=True)
class Queue:
    """The commands of a batch system.

    listing  prints the user's jobs
    cancel   ends jobs by their name
    """

    system: System
    listing: tuple[str, ...]
    cancel: str

    def list_jobs(self) -> dict[str, JobState] | None:
        """Return the user's jobs by id; None if the batch system does not answer."""
        ran = _run([word.replace("{user}", getpass.getuser()) for word in self.listing])
        return None if ran is None else _PARSERS[self.system](ran)

    def cancel_jobs(self, name: str) -> bool:
        """End all jobs called ``name``; return True if the command ran."""
        return _run(["sh", "-c", self.cancel, "cancel", name]) is not None


_QUEUES: dict[System, Queue] = {
    "slurm": Queue("slurm", ("squeue", "--noheader", "--user={user}", "--format=%i|%T|%r"), 'scancel --name="$1"'),
    "pbs": Queue("pbs", ("qstat", "-u", "{user}"), 'jobs=$(qselect -N "$1"); test -z "$jobs" || qdel $jobs'),
    "lsf": Queue("lsf", ("bjobs", "-noheader", "-o", "jobid stat pend_reason delimiter='|'"), 'bkill -J "$1" 0'),
}


def get_queue(system: System) -> Queue:
    """Return the queue of a batch system."""
    return _QUEUES[system]


def _run(command: Sequence[str]) -> str | None:
    """Return the output of a command; None if it fails."""
    try:
        ran = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout


def _parse_columns(text: str) -> dict[str, JobState]:
    """Parse lines such as ``12|PENDING|Priority``."""
    jobs = {}
    for line in text.splitlines():
        job_id, _, rest = line.strip().partition("|")
        state, _, reason = rest.partition("|")
        if job_id and state:
            jobs[job_id] = JobState(state.strip(), "" if reason.strip() in ("None", "-") else reason.strip())
    return jobs


def _parse_qstat(text: str) -> dict[str, JobState]:
    """Parse the table of ``qstat -u``: the id is its first column, the state the second last but one."""
    jobs = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 10 and (found := re.match(r"\d+", words[0])):
            jobs[found[0]] = JobState(_PBS_STATES.get(words[-2], words[-2]))
    return jobs


_PARSERS = {"slurm": _parse_columns, "lsf": _parse_columns, "pbs": _parse_qstat}


def describe_jobs(queue: Queue, jobs: Mapping[str, JobState]) -> str:
    """Return the numbers of jobs by state, such as ``squeue: 2 PENDING (Priority), 1 RUNNING``."""
    counts = Counter(f"{job.state} ({job.reason})" if job.reason else job.state for job in jobs.values())
    words = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    return short_line(f"{queue.listing[0]}: {words}") if words else f"{queue.listing[0]}: no job"
