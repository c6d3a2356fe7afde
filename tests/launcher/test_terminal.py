"""Test commands whose output cannot be written: a closed pipe or a full disk gives no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADRACE = str(Path(sys.executable).with_name("headrace"))
FLOW = [sys.executable, "flows/dataset_prep.py"]
SIGPIPE_CODE = 141
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as users run it


@pytest.mark.parametrize(
    "command",
    [
        [HEADRACE, "--help"],
        [*FLOW, "--help"],
        [HEADRACE, "flows"],
        [HEADRACE, "completion", "bash"],
        [HEADRACE, "doctor"],
    ],
    ids=lambda command: " ".join(Path(word).name for word in command),
)
@pytest.mark.parametrize("output", ["closed pipe", "full disk"])
def test_output_that_cannot_be_written_gives_no_traceback(command: list[str], output: str) -> None:
    if output == "full disk":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    try:
        ran = subprocess.run(
            command, cwd=ROOT, env=BUFFERED, stdout=descriptor, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(descriptor)
    if output == "full disk":
        assert ran.returncode == 1
        assert "No space left on device" in ran.stderr
        assert len(ran.stderr.splitlines()) == 1, ran.stderr
    else:
        assert (ran.returncode, ran.stderr) == (SIGPIPE_CODE, "")


@pytest.mark.parametrize("command", [[*FLOW, "--nonsense"], [HEADRACE, "nonsense"]], ids=["flow", "headrace"])
def test_errors_on_a_full_disk_keep_the_exit_code(command: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(command, cwd=ROOT, env=BUFFERED, stderr=full, check=False)
    assert ran.returncode == 2
