"""Test that help and usage errors are fast: they import no Prefect, Dask, media or science library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")
ORCHESTRATION = {"prefect", "prefect_dask", "dask", "distributed", "fastapi", "sqlalchemy", "uvicorn"}
LIBRARIES = {
    *("PIL", "astropy", "astroquery", "av", "cv2", "ffmpeg", "httpx", "imageio_ffmpeg", "lightkurve", "matplotlib"),
    *("mediapipe", "numba", "numpy", "onnxruntime", "pandas", "pose_format", "psutil", "pyarrow", "requests", "scipy"),
}


def trace_imports(flow: str, *arguments: str) -> tuple[int, set[str]]:
    """Run a flow's command line in a child process; return its exit code and the packages it imported."""
    code = (
        "import json, sys; from tasks.launcher.command import main; code = main(sys.argv[1], sys.argv[2:]);"
        "print(); print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    command = [sys.executable, "-P", "-c", code, f"flows.{flow}", *arguments]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    exit_code, names = json.loads(ran.stdout.splitlines()[-1])
    return exit_code, set(names)


@pytest.mark.parametrize("flow", FLOWS)
def test_help_imports_no_heavy_library(flow: str) -> None:
    code, names = trace_imports(flow, "--help")
    assert code == 0
    assert names & (ORCHESTRATION | LIBRARIES) == set()


@pytest.mark.parametrize("flow", FLOWS)
def test_invalid_options_import_no_heavy_library(flow: str) -> None:
    code, names = trace_imports(flow, "--nonsense", "--workers", "none", "word")
    assert code == 2
    assert names & (ORCHESTRATION | LIBRARIES) <= {"numpy"}, "reading the inputs may import NumPy"


@pytest.mark.parametrize("flow", FLOWS)
def test_missing_input_imports_no_orchestration(flow: str, tmp_path: Path) -> None:
    option = {"dataset_prep": "--videos-dir", "exoplanet_features": "--light-curves"}.get(flow, "--input")
    code, names = trace_imports(flow, option, str(tmp_path / "missing"), "--output-dir", str(tmp_path / "output"))
    assert code == 2
    assert names & ORCHESTRATION == set()
