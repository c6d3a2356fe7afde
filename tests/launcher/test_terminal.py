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


def open_broken_output(kind: str) -> int:
    """Return a descriptor to which nothing can be written."""
    if kind == "full disk":
        return os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    os.close(reader)
    return writer


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
    descriptor = open_broken_output(output)
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


@pytest.mark.parametrize("output", ["closed pipe", "full disk"])
def test_run_continues_if_its_progress_cannot_be_written(output: str, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "bad.mp4").write_text("Not a video.\n")
    command = [*FLOW, "--videos-dir", tmp_path / "videos", "--output-dir", tmp_path / "out"]
    descriptor = open_broken_output(output)
    try:
        ran = subprocess.run(command, cwd=ROOT, env=BUFFERED, stderr=descriptor, check=False)
    finally:
        os.close(descriptor)
    assert ran.returncode == 3, "finished, with a failed item"
    assert (tmp_path / "out" / "report.html").exists()
