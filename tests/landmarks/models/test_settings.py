"""Settings for model files: environment variables and their problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine.contract.errors import InvalidInput
from tasks.landmarks.models.catalogue import CATALOGUE, OFFICIAL_BASE
from tasks.landmarks.models.settings import ModelSettings, check_folder, read_settings


def test_defaults_are_the_official_url_and_the_user_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    settings = read_settings({"HEADRACE_MODEL_DIR": "", "HEADRACE_MODEL_URL": ""})
    assert settings == ModelSettings(Path("/home/someone/.cache/headrace/models"), None, OFFICIAL_BASE)
    assert read_settings({"XDG_CACHE_HOME": "/x"}).cache == Path("/x/headrace/models")
    assert read_settings({"HEADRACE_CACHE": "/own", "XDG_CACHE_HOME": "/x"}).cache == Path("/own/models")
    assert settings.build_url(CATALOGUE["hands"]) == CATALOGUE["hands"].url


def test_mirror_uses_the_official_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings({"HEADRACE_MODEL_URL": "http://mirror.example:8080/models/", "HEADRACE_CACHE": "/own"})
    path = "pose_landmarker/pose_landmarker_lite/float16/1/pose_landmarker_lite.task"
    assert settings.build_url(CATALOGUE["pose-lite"]) == f"http://mirror.example:8080/models/{path}"
    assert ("http", "mirror.example:8080") in settings.origins
    assert not any(scheme == "http" for scheme, _ in read_settings({"HEADRACE_CACHE": "/own"}).origins)


@pytest.mark.parametrize("given", ["mirror.example", "ftp://mirror.example", "file:///models", "https://me@x/?a=1"])
def test_invalid_url_is_rejected(given: str) -> None:
    with pytest.raises(InvalidInput, match=r"HEADRACE_MODEL_URL: .*; allowed: a URL that begins with https://"):
        read_settings({"HEADRACE_MODEL_URL": given})


def test_model_dir_that_is_not_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert check_folder(ModelSettings(tmp_path)) == []
    assert check_folder(ModelSettings(tmp_path, tmp_path)) == []
    for path in (tmp_path / "file", tmp_path / "absent"):
        (problem,) = check_folder(ModelSettings(tmp_path, path))
        assert str(problem).startswith(
            f"HEADRACE_MODEL_DIR: {path} is not a folder; allowed: a folder with .task files"
        )


def test_catalogue_pins_a_version_of_each_file() -> None:
    for file in CATALOGUE.values():
        assert file.url.startswith(f"{OFFICIAL_BASE}/")
        assert file.url.endswith(f"/float16/1/{file.file_name}")
        assert len(bytes.fromhex(file.sha256)) == 32
    assert len({file.sha256 for file in CATALOGUE.values()}) == len(CATALOGUE)
