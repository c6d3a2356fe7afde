"""What --model means, and that its file is there and is what it was."""

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
from tasks.landmarks.models.store import Model, choose_model, fetch_models, model_path, rescue_model
from tasks.landmarks.points import MODEL_KINDS, ModelKind
from tests.landmarks.models.server import ModelServer, busy, cut, instead

HANDS = CATALOGUE["hands"]


def bundle(path: Path, *names: str, content: bytes = b"network" * 100) -> Path:
    """A bundle in the official form: its files are not compressed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as stream:
        for name in names:
            stream.writestr(name, content)
    return path


def chosen(option: str | Path) -> Model:
    model, problems = choose_model(str(option))
    assert problems == []
    assert model is not None
    return model


def refused(option: str | Path) -> str:
    model, (problem,) = choose_model(str(option))
    assert model is None
    assert problem.where == "--model"
    return str(problem)


def own_model(tmp_path: Path, kind: ModelKind = "hands") -> Model:
    return chosen(bundle(tmp_path / "own.task", *NEEDED[kind]))


@pytest.fixture
def mirror(server: ModelServer, shared_models: Path, monkeypatch: pytest.MonkeyPatch) -> ModelServer:
    """A mirror that has the official hand and face models, and nobody else is asked."""
    monkeypatch.setenv("HEADRACE_MODEL_URL", f"{server.url}/mirror")
    for word in ("hands", "face"):
        path = urlsplit(CATALOGUE[word].url).path.removeprefix("/mediapipe-models")
        server.files[f"/mirror{path}"] = (shared_models / CATALOGUE[word].file_name).read_bytes()
    return server


@pytest.mark.parametrize("word", CATALOGUE)
def test_a_word_means_the_official_file(word: str) -> None:
    file = CATALOGUE[word]
    assert chosen(word) == Model(file.kind, file.file_name, file.sha256, None)
    assert set(MODEL_KINDS) <= set(CATALOGUE)


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_bundle_s_kind_is_told_by_what_it_holds(kind: ModelKind, tmp_path: Path) -> None:
    path = bundle(tmp_path / "own.task", *NEEDED[kind], "face_blendshapes.tflite", "more.binarypb")
    assert chosen(path) == Model(kind, "own.task", hashlib.sha256(path.read_bytes()).hexdigest(), path)


def test_a_path_may_be_relative_or_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bundle(tmp_path / "own.task", *NEEDED["pose"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert chosen("own.task").path == chosen("~/own.task").path == path


def test_the_models_for_tests_are_known_for_what_they_are(shared_models: Path, tmp_path: Path) -> None:
    holistic = chosen(shared_models / "holistic_assembled.task")
    assert (holistic.kind, holistic.file_name) == ("holistic", "holistic_assembled.task")
    assert holistic.sha256 != CATALOGUE["holistic"].sha256
    assert chosen(shared_models / "face_landmarker.task").kind == "face"
    renamed = Path(shutil.copyfile(shared_models / "hand_landmarker.task", tmp_path / "renamed.task"))
    # Under its official name, so that the keys of its results are those that the word makes.
    assert chosen(renamed) == Model("hands", "hand_landmarker.task", HANDS.sha256, renamed)


def test_what_is_neither_a_word_nor_a_file_is_told(tmp_path: Path) -> None:
    assert "did you mean holistic?" in refused("holistik")
    assert f"'{tmp_path}' is a folder" in refused(tmp_path)
    absent = refused(tmp_path / "absent.task")
    assert absent.startswith(
        f"--model: '{tmp_path / 'absent.task'}' is neither a model nor a file; allowed: holistic, "
    )
    assert "'' is neither" in refused("")


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.task"
    page.write_bytes(b"<html>")
    assert f"{page} is no bundle of networks (File is not a zip file)" in refused(page)
    page.write_bytes(b"")
    assert "is no bundle of networks" in refused(page)


def test_a_damaged_bundle_is_told(tmp_path: Path) -> None:
    path = bundle(tmp_path / "own.task", "hand_detector.tflite", "hand_landmarks_detector.tflite")
    sound = path.read_bytes()
    path.write_bytes(sound.replace(b"network", b"netw0rk", 1))
    assert "is damaged: hand_detector.tflite in it does not fit its checksum" in refused(path)
    path.write_bytes(sound[:-30])
    assert "is no bundle of networks" in refused(path)
    path.write_bytes(sound[:200] + sound[900:])
    assert "is no bundle of networks" in refused(path)


def test_a_bundle_that_unpacks_to_more_than_any_model_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.task"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as stream:
        for name in ("hand_detector.tflite", "hand_landmarks_detector.tflite"):
            with stream.open(name, "w") as member:
                for _ in range(130):
                    member.write(bytes(1 << 20))
    monkeypatch.setattr(zipfile.ZipFile, "testzip", lambda _: pytest.fail("it was unpacked"))
    assert "is no bundle of networks: it unpacks to 260 MiB; models have at most 256 MiB" in refused(path)


def test_whatever_the_damage_is_it_is_told(tmp_path: Path) -> None:
    """Bytes drawn by chance, in every way in which a zip may be packed: zipfile raises many kinds of errors."""
    path = tmp_path / "own.task"
    with zipfile.ZipFile(path, "w") as stream:
        for number, packed in enumerate(
            (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        ):
            stream.writestr(f"{number}.tflite", b"network" * 20, packed)
    sound, chance = path.read_bytes(), random.Random(0)
    for _ in range(500):
        damaged = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        start = chance.randrange(len(damaged))
        del damaged[start : start + chance.choice((0, 0, 60))]
        path.write_bytes(damaged)
        assert " is " in refused(path)


def test_a_bundle_for_something_else_is_told(tmp_path: Path) -> None:
    gestures = bundle(tmp_path / "own.task", "hand_landmarker.task", "hand_gesture_recognizer.task")
    words = (
        "is a bundle of another kind; it holds hand_gesture_recognizer.task, hand_landmarker.task; allowed: the path"
    )
    assert f"{gestures} {words}" in refused(gestures)
    assert "it holds nothing" in refused(bundle(tmp_path / "none.task"))
    many = bundle(tmp_path / "many.task", *(f"{number:03}.tflite" for number in range(100)))
    assert "it holds 000.tflite, " in refused(many)
    assert "009.tflite, ..." in refused(many)


def test_a_model_can_be_sent_to_a_child(tmp_path: Path) -> None:
    model = own_model(tmp_path)
    assert pickle.loads(pickle.dumps(model)) == model


def test_the_user_s_own_file_is_verified_on_every_load(tmp_path: Path) -> None:
    model = own_model(tmp_path)
    assert model.path is not None
    assert fetch_models([model]) == []
    assert model_path(model) == model.path
    bundle(model.path, *NEEDED["hands"], content=b"another")
    with pytest.raises(RunError, match=f"{model.path} is not on this machine with the content that it had") as caught:
        model_path(model)
    assert model.sha256 in str(caught.value)
    (problem,) = fetch_models([model])
    assert str(caught.value) in str(problem)


def test_the_user_s_own_file_may_be_in_the_folder_of_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = own_model(tmp_path)
    folder = tmp_path / "there"
    folder.mkdir()
    assert model.path is not None
    moved = model.path.rename(folder / "any.task")
    with pytest.raises(RunError):
        model_path(model)
    monkeypatch.setenv("HEADRACE_MODEL_DIR", str(folder))
    assert model_path(model) == moved


def test_an_official_file_given_by_path_is_downloaded_where_the_path_is_not(
    tmp_path: Path, shared_models: Path, mirror: ModelServer
) -> None:
    model = chosen(shutil.copyfile(shared_models / "hand_landmarker.task", tmp_path / "mine.task"))
    (tmp_path / "mine.task").unlink()
    assert model_path(model) == tmp_path / "cache" / "models" / "hand_landmarker.task"


def test_official_files_come_from_the_mirror_once(mirror: ModelServer, tmp_path: Path, shared_models: Path) -> None:
    models = [chosen("face"), rescue_model()]
    assert fetch_models(model for model in [*models, *models]) == []
    assert len(mirror.requests) == 2
    paths = [model_path(model) for model in models]
    assert [path.parent for path in paths] == [tmp_path / "cache" / "models"] * 2
    assert [path.read_bytes() for path in paths] == [(shared_models / path.name).read_bytes() for path in paths]
    assert len(mirror.requests) == 2


def test_in_a_folder_of_models_those_that_are_official_work_and_the_other_is_told(
    mirror: ModelServer, shared_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_MODEL_DIR", str(shared_models))
    assert fetch_models([chosen("hands"), chosen("face"), rescue_model()]) == []
    assert model_path(rescue_model()) == shared_models / "hand_landmarker.task"
    assert mirror.requests == []
    (problem,) = fetch_models([chosen("holistic"), rescue_model()])
    file = CATALOGUE["holistic"]
    url = f"{os.environ['HEADRACE_MODEL_URL']}/holistic_landmarker/holistic_landmarker/float16/1/{file.file_name}"
    assert str(problem) == (
        f"--model holistic: holistic_landmarker.task is not in HEADRACE_MODEL_DIR={shared_models} and cannot be "
        f"downloaded ({url} is not there; check HEADRACE_MODEL_URL); allowed: the file with sha256 {file.sha256} "
        f"(13,683,609 bytes) from {file.url}; put it into {tmp_path / 'cache' / 'models'}, or into {shared_models}, "
        "or give its path by --model PATH"
    )


def test_each_missing_file_is_a_problem_of_its_own_option(mirror: ModelServer) -> None:
    mirror.files.clear()
    problems = fetch_models([chosen("pose-heavy"), rescue_model()])
    assert [problem.where for problem in problems] == ["--model pose-heavy", "--rescue-hands"]
    assert [problem.where for problem in fetch_models([chosen("hands"), rescue_model()])] == ["--model hands"]


def test_in_a_child_a_network_that_fails_may_pass_and_a_wrong_file_may_not(
    mirror: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "ModelFetcher", partial(ModelFetcher, pace=Pace(sleep=lambda _: None)))
    mirror.faults.extend([busy(503, "0"), cut, busy(500), busy(503)])
    with pytest.raises(TransientError, match=r"hand_landmarker.task cannot be downloaded \(HTTP 503; tried 4 times\)"):
        model_path(chosen("hands"))
    mirror.files.clear()
    mirror.faults.extend([instead(b"wrong")] * 2)
    with pytest.raises(RunError, match="5 bytes came and not 7,819,105, in two downloads") as caught:
        model_path(rescue_model())
    assert str(caught.value).startswith("--model hands or --rescue-hands: hand_landmarker.task cannot be downloaded")


def test_wrong_variables_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_MODEL_DIR", str(tmp_path / "absent"))
    (problem,) = fetch_models([chosen("hands")])
    assert problem.where == "HEADRACE_MODEL_DIR"
    monkeypatch.setenv("HEADRACE_MODEL_URL", "mirror")
    (problem,) = fetch_models([chosen("hands")])
    assert problem.where == "HEADRACE_MODEL_URL"
    with pytest.raises(InvalidInput):
        model_path(chosen("hands"))
