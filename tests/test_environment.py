"""Test the set-up: uv gets pip's settings and is found without pip. Uses real wheels and index pages on disk."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """Load ``scripts/environment.py``, which is not part of a package."""
    spec = importlib.util.spec_from_file_location("environment", ROOT / "scripts" / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def index(tmp_path: Path) -> tuple[Path, str]:
    """Create an index in a folder that offers uv 1.2.3; return it with the digest of its wheel."""
    page = tmp_path / "simple" / "uv"
    page.mkdir(parents=True)
    libc = "manylinux" if platform.libc_ver()[0] == "glibc" else "musllinux"
    wheel = page / f"uv-1.2.3-py3-none-{libc}_2_17_{platform.machine()}.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-1.2.3.data/scripts/uv", "#!/bin/sh\necho uv 1.2.3\n")
    other = "uv-1.2.3-py3-none-win_amd64.whl"
    page.joinpath("index.html").write_text(
        f'<a href="{other}">{other}</a>\n<a href="{wheel.name}#sha256=0">{wheel.name}</a>'
    )
    return page.parent, hashlib.sha256(wheel.read_bytes()).hexdigest()


def test_variables_override_pip_files(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = from-file\nfind_links = one two\n[install]\nno-deps = yes\n"
    )
    given = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_INDEX_URL": "from-variable", "HOME": str(tmp_path)}
    settings = script.read_pip_settings(given)
    assert settings["index-url"] == "from-variable"
    assert settings["find-links"] == "one two"


def test_pip_settings_become_uv_variables(script: ModuleType, tmp_path: Path) -> None:
    settings = {"index-url": "a", "extra-index-url": "b\nc", "find-links": "d e", "cert": "f", "trusted-host": "g h"}
    made = script.build_uv_variables(settings, {"HOME": str(tmp_path)})
    assert made == {
        "UV_DEFAULT_INDEX": "a",
        "UV_INDEX": "b c",
        "UV_FIND_LINKS": "d,e",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "SSL_CERT_FILE": "f",
        "UV_INSECURE_HOST": "g h",
    }


@pytest.mark.parametrize("configured", ["variable", "file"])
def test_index_configured_for_uv_is_kept(script: ModuleType, tmp_path: Path, configured: str) -> None:
    given = {"HOME": str(tmp_path)}
    if configured == "variable":
        given["UV_INDEX_URL"] = "mine"
    else:
        (tmp_path / ".config" / "uv").mkdir(parents=True)
        (tmp_path / ".config" / "uv" / "uv.toml").touch()
    assert "UV_DEFAULT_INDEX" not in script.build_uv_variables({"index-url": "a"}, given)


def test_uv_is_fetched_without_pip(script: ModuleType, index: tuple[Path, str], tmp_path: Path) -> None:
    folder, digest = index
    program = script.fetch_uv("1.2.3", {digest}, {"index-url": folder.as_uri()}, tmp_path)
    assert subprocess.run([program], check=True, capture_output=True, text=True).stdout == "uv 1.2.3\n"


def test_uv_is_found_by_find_links(script: ModuleType, index: tuple[Path, str], tmp_path: Path) -> None:
    folder, digest = index
    (folder / "uv" / "index.html").unlink()
    assert script.fetch_uv("1.2.3", {digest}, {"find-links": str(folder / "uv")}, tmp_path)


@pytest.mark.parametrize("settings", [{}, {"index-url": "file:///nowhere"}, {"index-url": "index"}])
def test_wheel_with_an_unlocked_digest_is_refused(
    script: ModuleType, index: tuple[Path, str], tmp_path: Path, settings: dict[str, str]
) -> None:
    if settings.get("index-url") == "index":
        settings = {"index-url": index[0].as_uri()}
    with pytest.raises(script.SetupError, match="set PIP_INDEX_URL, or install python3-venv"):
        script.fetch_uv("1.2.3", {"0" * 64}, settings, tmp_path)


def test_the_lock_pins_uv(script: ModuleType) -> None:
    version, hashes = script.read_locked_uv(ROOT / "requirements-dev.lock")
    assert version[0].isdigit()
    assert len(hashes) > 5


@pytest.mark.parametrize(("version", "works"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)])
def test_unsupported_python_versions_are_refused(script: ModuleType, version: tuple[int, int], works: bool) -> None:
    if works:
        script.check_version(version)
    else:
        with pytest.raises(script.SetupError, match=r"3\.11 to 3\.13"):
            script.check_version(version)


def test_environment_is_created_once(script: ModuleType, tmp_path: Path) -> None:
    python = script.create(tmp_path / "venv")
    (tmp_path / "venv" / "mark").touch()
    assert script.create(tmp_path / "venv") == python
    assert (tmp_path / "venv" / "mark").exists()
    python.unlink()
    script.create(tmp_path / "venv")
    assert not (tmp_path / "venv" / "mark").exists()


def test_failed_set_up_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "empty.lock").touch()
    command = [sys.executable, ROOT / "scripts" / "environment.py", tmp_path / "venv", tmp_path / "empty.lock"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ran.returncode == 1
    assert ran.stderr.startswith("set-up failed: ")
    assert ran.stderr.count("\n") == 1
