"""Where model files are looked for: variables, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine.contract.errors import InvalidInput
from tasks.landmarks.models.catalogue import CATALOGUE, OFFICIAL_BASE
from tasks.landmarks.models.settings import ModelSettings, folder_problems, settings_from


def test_without_variables_it_is_the_official_place_and_the_user_s_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    own = settings_from({"HEADRACE_MODEL_DIR": "", "HEADRACE_MODEL_URL": ""})
    assert own == ModelSettings(Path("/home/someone/.cache/headrace/models"), None, OFFICIAL_BASE)
    assert settings_from({"XDG_CACHE_HOME": "/x"}).cache == Path("/x/headrace/models")
    assert settings_from({"HEADRACE_CACHE": "/own", "XDG_CACHE_HOME": "/x"}).cache == Path("/own/models")
    assert own.url(CATALOGUE["hands"]) == CATALOGUE["hands"].url


def test_a_mirror_has_the_official_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    own = settings_from({"HEADRACE_MODEL_URL": "http://mirror.example:8080/models/", "HEADRACE_CACHE": "/own"})
    path = "pose_landmarker/pose_landmarker_lite/float16/1/pose_landmarker_lite.task"
    assert own.url(CATALOGUE["pose-lite"]) == f"http://mirror.example:8080/models/{path}"
    assert ("http", "mirror.example:8080") in own.origins
    assert not any(scheme == "http" for scheme, _ in settings_from({"HEADRACE_CACHE": "/own"}).origins)


@pytest.mark.parametrize("given", ["mirror.example", "ftp://mirror.example", "file:///models", "https://me@x/?a=1"])
def test_an_address_that_cannot_be_one_is_told(given: str) -> None:
    with pytest.raises(InvalidInput, match=r"HEADRACE_MODEL_URL: .*; allowed: a URL that begins with https://"):
        settings_from({"HEADRACE_MODEL_URL": given})


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert folder_problems(ModelSettings(tmp_path)) == []
    assert folder_problems(ModelSettings(tmp_path, tmp_path)) == []
    for path in (tmp_path / "file", tmp_path / "absent"):
        (problem,) = folder_problems(ModelSettings(tmp_path, path))
        assert str(problem).startswith(f"HEADRACE_MODEL_DIR: {path} is none; allowed: a folder that holds .task files")


def test_the_catalogue_pins_a_version_of_each() -> None:
    for file in CATALOGUE.values():
        assert file.url.startswith(f"{OFFICIAL_BASE}/")
        assert file.url.endswith(f"/float16/1/{file.file_name}")
        assert len(bytes.fromhex(file.sha256)) == 32
    assert len({file.sha256 for file in CATALOGUE.values()}) == len(CATALOGUE)
