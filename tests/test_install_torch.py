"""Test which torch build is chosen, with real uv and real wheels in a folder; no build is installed."""

from __future__ import annotations

import importlib.util
import os
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Load ``scripts/install_torch.py``, which is not part of a package."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("install_torch", ROOT / "scripts" / "install_torch.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_wheel(folder: Path, version: str) -> None:
    """Write an empty wheel of torch."""
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        (["2.7.0", "2.8.0", "2.8.0+cpu"], "torch==2.8.0+cpu"),
        (["2.7.0", "2.7.0+cpu", "2.8.0", "2.9.1"], "torch==2.7.0+cpu"),  # the newest have no CPU build
        (["2.5.0+cpu", "2.8.0", "3.0.0+cpu"], "torch>=2.6,<3"),  # versions with a CPU build are not allowed
        ([], "torch>=2.6,<3"),
    ],
)
def test_newest_cpu_build_is_chosen(script: ModuleType, tmp_path: Path, versions: list[str], chosen: str) -> None:
    for version in versions:
        write_wheel(tmp_path, version)
    (tmp_path / "empty").mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("UV_", "PIP_"))}
    variables = {**own, "UV_DEFAULT_INDEX": (tmp_path / "empty").as_uri(), "UV_FIND_LINKS": str(tmp_path)}
    installer = script.Installer(Path(sys.executable), ROOT / script.LOCK, variables)
    assert script.choose(installer, "torch>=2.6,<3") == chosen


def test_requirement_is_that_of_the_extra_torch(script: ModuleType) -> None:
    assert script.read_requirement(ROOT / "pyproject.toml").startswith("torch>=")
