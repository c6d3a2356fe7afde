"""Test Ctrl+C before the run begins: no traceback, whatever is being imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADRACE = str(Path(sys.executable).with_name("headrace"))
# Python runs this before the program: it sends SIGINT to its own process when a certain module is imported.
SITECUSTOMIZE = """
import importlib.abc, os, signal, sys
class Interrupter(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPT_AT"] and os.environ["INTERRUPT_CHILD_OF"] == str(os.getppid()):
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupter())
"""


@pytest.mark.parametrize(
    "program",
    [[HEADRACE, "run", "dataset-prep"], [sys.executable, "flows/dataset_prep.py"]],
    ids=["headrace", "python"],
)
@pytest.mark.parametrize("module", ["pydantic", "cyclopts", "tasks.frames.params", "tasks.frames.manifest", "prefect"])
def test_interrupt_during_an_import_is_one_line(program: list[str], module: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "bad.mp4").write_text("Not a video.\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path), "INTERRUPT_AT": module}
    environment |= {"INTERRUPT_CHILD_OF": str(os.getpid()), "PREFECT_HOME": str(tmp_path / "home")}
    environment.pop("PREFECT_API_URL", None)
    command = [*program, "--videos-dir", tmp_path / "videos", "--output-dir", tmp_path / "out"]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (130, "")
    assert ran.stderr == "interrupted before the run began; nothing was changed\n"
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("headrace-prefect-*")), "the folder of the run's own server is removed"


@pytest.mark.parametrize("module", ["cyclopts", "flows.vhs_batch"])
def test_interrupt_of_another_command_is_one_line(module: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "INTERRUPT_AT": module}
    environment |= {"INTERRUPT_CHILD_OF": str(os.getpid())}
    ran = subprocess.run([HEADRACE, "flows"], env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, len(ran.stderr.splitlines())) == (130, 1), ran.stderr
