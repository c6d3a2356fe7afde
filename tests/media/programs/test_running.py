"""Programs of the user's are real children: what they say is kept, how they end is told, and nothing stays behind."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from tasks.media.programs.running import run_program
from tasks.media.segments.errors import SegmentError
from tests.engine.processes import wait_until


def test_program_gets_variables_and_its_output_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OURS", "one")
    said = "import os; print(os.environ['OURS'], os.environ['ITS'], os.getpgid(0) == os.getpid(), open(0).read())"
    run_program([sys.executable, "-c", said], {"ITS": "two"}, tmp_path / "log")
    assert (tmp_path / "log").read_text() == capsys.readouterr().err == "one two True \n"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("import sys; sys.exit('no licence')", r"python[\d.]* ended with exit status 1: no licence"),
        ("import sys; sys.exit(7)", r"python[\d.]* ended with exit status 7: no output"),
        ("import os; os.kill(os.getpid(), 9)", r"python[\d.]* was ended by SIGKILL: no output"),
    ],
)
def test_exit_status_and_signal_are_reported(said: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(SegmentError, match=words):
        run_program([sys.executable, "-c", said], {}, tmp_path / "log")


def test_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "no program"
    file.write_text("words")
    with pytest.raises(SegmentError, match="no program cannot be started: Permission denied; give its full path"):
        run_program([str(file)], {}, tmp_path / "log")


LEAVES = """
import pathlib, subprocess, sys
left = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
pathlib.Path(sys.argv[1]).write_text(str(left.pid))
"""


def test_processes_left_behind_are_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    run_program([sys.executable, "-c", LEAVES, str(note)], {}, tmp_path / "log")
    pid = int(note.read_text())
    wait_until(lambda: has_ended(pid), f"{pid} is ended")


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
