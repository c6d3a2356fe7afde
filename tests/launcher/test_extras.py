"""Test extras: a flow without its extra says so in one line, and needs only its extra."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.launcher import doctor, extras
from tasks.launcher.flow_command import load_flow

ROOT = Path(__file__).resolve().parents[2]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")
MODULES = {
    "av": "av", "imageio-ffmpeg": "imageio_ffmpeg", "ffmpeg-python": "ffmpeg", "mediapipe": "mediapipe",
    "pose-format": "pose_format", "astropy": "astropy", "astroquery": "astroquery", "lightkurve": "lightkurve",
    "wotan": "wotan", "transitleastsquares": "transitleastsquares", "numba": "numba", "scipy": "scipy",
    "matplotlib": "matplotlib", "pillow": "PIL",
}  # fmt: skip
OPTIONAL = ("ncnn", "onnxruntime", "torch")
BLOCK = """
import importlib.abc, sys
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in sys.argv[2].split(','):
            raise ModuleNotFoundError(f'blocked: {name}')
sys.meta_path.insert(0, Blocker())
__import__(sys.argv[1])
"""


@pytest.mark.parametrize("flow", FLOWS)
def test_steps_import_nothing_beyond_the_extra(flow: str) -> None:
    extra = load_flow(f"flows.{flow}").extra
    assert extra
    needed = set(extras.required_distributions(extra))
    if "astropy" in needed or "mediapipe" in needed:  # these require the distributions below
        needed |= {"matplotlib", "scipy", "pillow"}
    blocked = [module for name, module in MODULES.items() if name not in needed]
    command = [sys.executable, "-P", "-c", BLOCK, f"flows.steps.{flow}", ",".join((*blocked, *OPTIONAL))]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr


def test_all_distributions_of_extras_are_listed_here() -> None:
    names = {name for extra in ("video", "signs", "stars") for name in extras.required_distributions(extra)}
    assert names == set(MODULES)


def test_flow_without_its_extra_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from tasks.launcher.command import main

    monkeypatch.setattr(extras, "_is_installed", lambda name: name not in ("astropy", "wotan"))
    options = ["--light-curves", str(tmp_path), "--output-dir", str(tmp_path / "out")]
    assert main("flows.exoplanet_features", options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: exoplanet-features needs the extra stars, which lacks astropy, wotan; install it: ")


def test_doctor_reports_what_is_missing_with_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path))
    monkeypatch.delenv("HEADRACE_MODEL_DIR", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(doctor, "can_load", lambda library: library != "libEGL.so.1")
    monkeypatch.setattr(extras, "_is_installed", lambda name: name != "wotan")
    monkeypatch.setattr(doctor, "_MIN_BYTES", 2**60)
    assert doctor.check_installation() == 1
    lines = capsys.readouterr().out.splitlines()
    missing = [(line, lines[place + 1].strip()) for place, line in enumerate(lines) if line.startswith("missing ")]
    reported = {line.partition(": ")[0].removeprefix("missing").strip(): command for line, command in missing}
    assert reported["stars"].startswith(("make setup EXTRAS=", "pip install 'headrace["))
    assert reported["libraries of MediaPipe"] == "apt-get install --yes libegl1"
    assert {"memory", "temporary folder"} <= set(reported)
    place = next(place for place, line in enumerate(lines) if line.startswith("optional  model holistic: "))
    assert lines[place + 1].strip().endswith("headrace models holistic")
    assert lines[-1] == f"{len(missing)} missing"


def test_extras_are_declared_in_the_package_metadata() -> None:
    declared = importlib.metadata.metadata("headrace").get_all("Provides-Extra") or []
    assert set(extras.ALL_EXTRAS) <= set(declared)
