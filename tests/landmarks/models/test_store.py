"""The --model option: names, paths, and verification of the chosen file."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import shutil
import zipfile
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tasks.downloads.cache import Pace
from tasks.engine.contract.errors import InvalidInput, RunError, TransientError
from tasks.landmarks.models import store
from tasks.landmarks.models.bundle import NEEDED
from tasks.landmarks.models.catalogue import CATALOGUE
from tasks.landmarks.models.fetching import ModelFetcher
from tasks.landmarks.models.store import Model, choose_model, fetch_models, get_rescue_model, locate_model
from tasks.landmarks.points import MODEL_KINDS, ModelKind
from tests.landmarks.models.server import ModelServer, answer_busy, answer_with, truncate

HANDS = CATALOGUE["hands"]


def write_bundle(path: Path, *names: str, content: bytes = b"network" * 100) -> Path:
    """Write a bundle in the official form, without compression."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as stream:
        for name in names:
            stream.writestr(name, content)
    return path


def get_model(option: str | Path) -> Model:
    model, problems = choose_model(str(option))
    assert problems == []
    assert model is not None
    return model


def get_message(option: str | Path) -> str:
    model, (problem,) = choose_model(str(option))
    assert model is None
    assert problem.where == "--model"
    return str(problem)


def create_model(tmp_path: Path, kind: ModelKind = "hands") -> Model:
    return get_model(write_bundle(tmp_path / "own.task", *NEEDED[kind]))


@pytest.fixture
def mirror(server: ModelServer, shared_models: Path, monkeypatch: pytest.MonkeyPatch) -> ModelServer:
    """Serve the official hand and face models from a mirror, the only server that is asked."""
    monkeypatch.setenv("HEADRACE_MODEL_URL", f"{server.url}/mirror")
    for word in ("hands", "face"):
        path = urlsplit(CATALOGUE[word].url).path.removeprefix("/mediapipe-models")
        server.files[f"/mirror{path}"] = (shared_models / CATALOGUE[word].file_name).read_bytes()
    return server


@pytest.mark.parametrize("word", CATALOGUE)
def test_model_name_selects_the_official_file(word: str) -> None:
    file = CATALOGUE[word]
    assert get_model(word) == Model(file.kind, file.file_name, file.sha256, None)
    assert set(MODEL_KINDS) <= set(CATALOGUE)


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_kind_of_a_bundle_follows_from_its_contents(kind: ModelKind, tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "own.task", *NEEDED[kind], "face_blendshapes.tflite", "more.binarypb")
    assert get_model(path) == Model(kind, "own.task", hashlib.sha256(path.read_bytes()).hexdigest(), path)


def test_path_may_be_relative_or_start_with_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_bundle(tmp_path / "own.task", *NEEDED["pose"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_model("own.task").path == get_model("~/own.task").path == path


def test_official_content_is_recognized_under_any_name(shared_models: Path, tmp_path: Path) -> None:
    holistic = get_model(shared_models / "holistic_assembled.task")
    assert (holistic.kind, holistic.file_name) == ("holistic", "holistic_assembled.task")
    assert holistic.sha256 != CATALOGUE["holistic"].sha256
    assert get_model(shared_models / "face_landmarker.task").kind == "face"
    renamed = Path(shutil.copyfile(shared_models / "hand_landmarker.task", tmp_path / "renamed.task"))
    # Under its official name, so that its results get the same keys as with the model name.
    assert get_model(renamed) == Model("hands", "hand_landmarker.task", HANDS.sha256, renamed)


def test_unknown_model_is_rejected_with_a_suggestion(tmp_path: Path) -> None:
    assert "did you mean holistic?" in get_message("holistik")
    assert f"'{tmp_path}' is a folder" in get_message(tmp_path)
    absent = get_message(tmp_path / "absent.task")
    assert absent.startswith(
        f"--model: '{tmp_path / 'absent.task'}' is neither a model name nor a file; allowed: holistic, "
    )
    assert "'' is neither" in get_message("")


def test_file_that_is_not_a_bundle_is_rejected(tmp_path: Path) -> None:
    page = tmp_path / "page.task"
    page.write_bytes(b"<html>")
    assert f"{page} is not a bundle of networks (File is not a zip file)" in get_message(page)
    page.write_bytes(b"")
    assert "is not a bundle of networks" in get_message(page)


def test_damaged_bundle_is_rejected(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "own.task", "hand_detector.tflite", "hand_landmarks_detector.tflite")
    intact = path.read_bytes()
    path.write_bytes(intact.replace(b"network", b"netw0rk", 1))
    assert "is damaged: the checksum of hand_detector.tflite does not match" in get_message(path)
    path.write_bytes(intact[:-30])
    assert "is not a bundle of networks" in get_message(path)
    path.write_bytes(intact[:200] + intact[900:])
    assert "is not a bundle of networks" in get_message(path)


def test_zip_bomb_is_rejected_without_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.task"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream:
        for name in ("hand_detector.tflite", "hand_landmarks_detector.tflite"):
            with stream.open(name, "w") as member:
                for _ in range(130):
                    member.write(bytes(1 << 20))
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: pytest.fail("it was unpacked"))
    assert "is not a bundle of networks: it unpacks to 260 MiB; models have at most 256 MiB" in get_message(path)


def test_random_damage_is_always_rejected(tmp_path: Path) -> None:
    """Change random bytes in zips of every compression; zipfile raises many kinds of errors."""
    path = tmp_path / "own.task"
    with zipfile.ZipFile(path, "w") as stream:
        for number, compression in enumerate(
            (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        ):
            stream.writestr(f"{number}.tflite", b"network" * 20, compression)
    intact, rng = path.read_bytes(), random.Random(0)
    for _ in range(500):
        damaged = bytearray(intact)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        start = rng.randrange(len(damaged))
        del damaged[start : start + rng.choice((0, 0, 60))]
        path.write_bytes(damaged)
        assert " is " in get_message(path)


def test_bundle_of_another_kind_is_rejected(tmp_path: Path) -> None:
    gestures = write_bundle(tmp_path / "own.task", "hand_landmarker.task", "hand_gesture_recognizer.task")
    message = (
        "is a bundle of another kind; it contains hand_gesture_recognizer.task, hand_landmarker.task; allowed: the path"
    )
    assert f"{gestures} {message}" in get_message(gestures)
    assert "it contains no files" in get_message(write_bundle(tmp_path / "none.task"))
    many = write_bundle(tmp_path / "many.task", *(f"{number:03}.tflite" for number in range(100)))
    assert "it contains 000.tflite, " in get_message(many)
    assert "009.tflite, ..." in get_message(many)


def test_model_can_be_pickled(tmp_path: Path) -> None:
    model = create_model(tmp_path)
    assert pickle.loads(pickle.dumps(model)) == model


def test_user_file_is_verified_on_every_load(tmp_path: Path) -> None:
    model = create_model(tmp_path)
    assert model.path is not None
    assert fetch_models([model]) == []
    assert locate_model(model) == model.path
    write_bundle(model.path, *NEEDED["hands"], content=b"another")
    with pytest.raises(RunError, match=f"{model.path} is not on this machine with its content at the start") as caught:
        locate_model(model)
    assert model.sha256 in str(caught.value)
    (problem,) = fetch_models([model])
    assert str(caught.value) in str(problem)


def test_user_file_may_be_in_the_model_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = create_model(tmp_path)
    folder = tmp_path / "there"
    folder.mkdir()
    assert model.path is not None
    moved = model.path.rename(folder / "any.task")
    with pytest.raises(RunError):
        locate_model(model)
    monkeypatch.setenv("HEADRACE_MODEL_DIR", str(folder))
    assert locate_model(model) == moved


def test_official_file_given_by_path_is_downloaded_if_the_path_is_missing(
    tmp_path: Path, shared_models: Path, mirror: ModelServer
) -> None:
    model = get_model(shutil.copyfile(shared_models / "hand_landmarker.task", tmp_path / "mine.task"))
    (tmp_path / "mine.task").unlink()
    assert locate_model(model) == tmp_path / "cache" / "models" / "hand_landmarker.task"


def test_official_files_are_downloaded_once_from_the_mirror(
    mirror: ModelServer, tmp_path: Path, shared_models: Path
) -> None:
    models = [get_model("face"), get_rescue_model()]
    assert fetch_models(model for model in [*models, *models]) == []
    assert len(mirror.requests) == 2
    paths = [locate_model(model) for model in models]
    assert [path.parent for path in paths] == [tmp_path / "cache" / "models"] * 2
    assert [path.read_bytes() for path in paths] == [(shared_models / path.name).read_bytes() for path in paths]
    assert len(mirror.requests) == 2


def test_model_dir_provides_official_files_and_the_missing_one_is_reported(
    mirror: ModelServer, shared_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_MODEL_DIR", str(shared_models))
    assert fetch_models([get_model("hands"), get_model("face"), get_rescue_model()]) == []
    assert locate_model(get_rescue_model()) == shared_models / "hand_landmarker.task"
    assert mirror.requests == []
    (problem,) = fetch_models([get_model("holistic"), get_rescue_model()])
    file = CATALOGUE["holistic"]
    url = f"{os.environ['HEADRACE_MODEL_URL']}/holistic_landmarker/holistic_landmarker/float16/1/{file.file_name}"
    assert str(problem) == (
        f"--model holistic: holistic_landmarker.task is not in HEADRACE_MODEL_DIR={shared_models} and cannot be "
        f"downloaded ({url} does not exist; check HEADRACE_MODEL_URL); allowed: the file with sha256 {file.sha256} "
        f"(13,683,609 bytes) from {file.url}; put it into {tmp_path / 'cache' / 'models'}, or into {shared_models}, "
        "or give its path by --model PATH"
    )


def test_each_missing_file_is_a_problem_of_its_option(mirror: ModelServer) -> None:
    mirror.files.clear()
    problems = fetch_models([get_model("pose-heavy"), get_rescue_model()])
    assert [problem.where for problem in problems] == ["--model pose-heavy", "--rescue-hands"]
    assert [problem.where for problem in fetch_models([get_model("hands"), get_rescue_model()])] == ["--model hands"]


def test_network_failure_is_transient_and_wrong_file_is_not(
    mirror: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ModelFetcher", partial(ModelFetcher, pace=Pace(sleep=lambda _: None)))
    mirror.faults.extend([answer_busy(503, "0"), truncate, answer_busy(500), answer_busy(503)])
    with pytest.raises(TransientError, match=r"hand_landmarker.task cannot be downloaded \(HTTP 503; tried 4 times\)"):
        locate_model(get_model("hands"))
    mirror.files.clear()
    mirror.faults.extend([answer_with(b"wrong")] * 2)
    with pytest.raises(RunError, match="5 bytes received instead of 7,819,105, in two downloads") as caught:
        locate_model(get_rescue_model())
    assert str(caught.value).startswith("--model hands or --rescue-hands: hand_landmarker.task cannot be downloaded")


def test_invalid_variables_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_MODEL_DIR", str(tmp_path / "absent"))
    (problem,) = fetch_models([get_model("hands")])
    assert problem.where == "HEADRACE_MODEL_DIR"
    monkeypatch.setenv("HEADRACE_MODEL_URL", "mirror")
    (problem,) = fetch_models([get_model("hands")])
    assert problem.where == "HEADRACE_MODEL_URL"
    with pytest.raises(InvalidInput):
        locate_model(get_model("hands"))
