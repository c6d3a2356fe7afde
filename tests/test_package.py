"""Test the distributions: the wheel has all that a run without a checkout needs, the source also tests and docs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDED = {
    "deployments/automations/crashed_runs.yaml",
    "deployments/prefect.yaml",
    "deployments/serve.py",
    "deployments/web/static/page.js",
    "deployments/web/templates/index.html",
    "flows/dataset_prep.py",
    "flows/py.typed",
    "flows/steps/vhs_batch.py",
    "tasks/engine/reporting/report/report.html",
    "tasks/py.typed",
    "tasks/restoration/presets.toml",
}
ENTRY_POINT = "headrace = tasks.launcher.cli:start"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return folder


def test_wheel_contains_all_modules_and_their_files(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (entry_points,) = (archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in ("flows", "tasks", "deployments")
        for path in (ROOT / package).rglob("*.py")
    }
    assert modules | NEEDED <= names
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {"flows", "tasks", "deployments"}
    assert ENTRY_POINT in entry_points


def test_source_distribution_contains_tests_docs_and_locks(built: Path) -> None:
    (source,) = built.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "requirements-dev.lock", "prefect.yaml", "docs/outputs.md", "tests/test_package.py"} <= names
    assert {f"tests/data/{path.name}" for path in (ROOT / "tests" / "data").glob("*.json")} <= names
