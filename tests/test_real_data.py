"""The files that tests use are small, have a source and a license, and the models are built exactly or not at all."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import lzma
import re
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest

from tests.real_data import DATA, FOLDERS, lay_out, list_video_names

ROOT = Path(__file__).resolve().parents[1]
MAX_BYTES = 8_000_000


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """Return the module ``scripts/build_test_models.py``, which is part of no package."""
    sys.path.insert(0, str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location("build_test_models", ROOT / "scripts" / "build_test_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(ROOT / "scripts"))
    return module


def test_files_are_small() -> None:
    assert sum(path.stat().st_size for path in DATA.rglob("*")) < MAX_BYTES


def test_every_file_has_a_source_in_the_readme() -> None:
    patterns = re.findall(r"`([^`]+)`", (DATA / "README.md").read_text(encoding="utf-8"))
    names = [str(path.relative_to(DATA)).removesuffix(".xz") for path in DATA.rglob("*") if path.is_file()]
    short = {name: re.sub(r"^(video|hands|lightcurves)/", "", name) for name in names}
    unnamed = [
        name
        for name in names
        if name not in {"README.md", "models/literals"}
        and not any(fnmatch(short[name], pattern) or fnmatch(name, pattern) for pattern in patterns)
        and not any(pattern.endswith("/") and f"/{name}".find(f"/{pattern}") >= 0 for pattern in patterns)
    ]
    assert unnamed == []


def test_files_are_unpacked_in_their_folders(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "data")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FOLDERS)
    assert sorted(path.name for path in (folder / "video").iterdir()) == list_video_names()
    assert list(folder.rglob("*.xz")) == []
    assert len(list(folder.glob("lightcurves/kplr006850504/*.fits"))) == 17


def write_pieces(builder: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, digest: str) -> dict[str, object]:
    """Write pieces of a model ``a.task`` whose content is ``bcXY``; return its recipe."""
    folder.mkdir()
    (folder / "weights").write_bytes(b"abcd")
    (folder / "literals.xz").write_bytes(lzma.compress(b"XYZ"))
    parts = [[1, 1, 2], [0, 0, 2]]
    recipe: dict[str, object] = {"package": "nothing==0", "sources": ["literals", "weights"]}
    recipe["models"] = {"a.task": {"sha256": digest, "parts": parts}}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    monkeypatch.setattr(builder, "PIECES", folder)
    return recipe


def test_models_are_built_from_their_parts(
    builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces, models = tmp_path / "pieces", tmp_path / "models"
    recipe = write_pieces(builder, pieces, monkeypatch, hashlib.sha256(b"bcXY").hexdigest())
    builder.build_models(recipe, pieces, models)
    assert [(path.name, path.read_bytes()) for path in models.iterdir()] == [("a.task", b"bcXY")]


def test_models_with_another_digest_are_not_written(
    builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces, models = tmp_path / "pieces", tmp_path / "models"
    recipe = write_pieces(builder, pieces, monkeypatch, hashlib.sha256(b"other").hexdigest())
    with pytest.raises(SystemExit, match=r"a\.task built from nothing==0 has another SHA-256"):
        builder.build_models(recipe, pieces, models)
    assert list(models.iterdir()) == []


def test_setup_continues_and_says_so_without_the_package(
    builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pieces(builder, tmp_path / "pieces", monkeypatch, "0")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    assert builder.main() == 0
    assert "no test models: nothing==0 cannot be installed" in capsys.readouterr().err
