"""landmark_extraction with real frames and a real model: outputs, reproducibility, caching, and bad samples."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tasks.landmarks.formats.reading import read_landmarks
from tests.engine.processes import wait_until
from tests.runs.bench import Bench

FLOW = "flows.landmark_extraction"
SHORT_FRAMES = 8
ALL = "--rescue-hands", "--overlay", "--fill-gaps", 3


@pytest.fixture(scope="session")
def frames(shared_data: Path) -> list[np.ndarray]:
    """Return the first two seconds of a woman who waves with both hands, 640x360, BGR."""
    with av.open(str(shared_data / "hands" / "mp_selfie_segmentation_web.mp4")) as container:
        return [
            frame.to_ndarray(format="bgr24") for frame, _ in zip(container.decode(video=0), range(50), strict=False)
        ]


@pytest.fixture
def models(shared_models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set the model folder, so that the rescue's hand model is found in it."""
    monkeypatch.setenv("HEADRACE_MODEL_DIR", str(shared_models))
    return shared_models


@pytest.fixture(scope="session")
def signs(frames: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two splits of short samples, one of them with a truncated frame."""
    folder = tmp_path_factory.mktemp("signs")
    write_sample(folder / "train" / "hello", frames[:12])
    write_sample(folder / "train" / "thanks", frames[20:30])
    write_sample(folder / "train" / "torn", frames[30:36])
    truncate(folder / "train" / "torn" / "img3.png")
    write_sample(folder / "dev" / "one-frame", frames[40:41])
    return folder


@pytest.fixture
def corpus(signs: Path, bench: Bench) -> Path:
    """Copy the samples, so that a test may change them."""
    return Path(shutil.copytree(signs, bench.folder / "signs"))


def write_sample(folder: Path, frames: list[np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"img{number}.png"), frame, [cv2.IMWRITE_PNG_COMPRESSION, 1])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_truncated_video(path: Path, frames: list[np.ndarray]) -> None:
    """Write a video of 25 keyframes per second without the second half of its bytes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.pix_fmt = "yuvj420p"
        stream.height, stream.width = frames[0].shape[:2]
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode())
    truncate(path)


def build_options(bench: Bench, corpus: Path, models: Path, *more: object) -> tuple[object, ...]:
    model = models / "holistic_assembled.task"
    return ("--input", corpus, "--output-dir", bench.output, "--model", model, *more)


def read_metrics(bench: Bench, split: str) -> dict[str, dict[str, str]]:
    with (bench.output / split / "extraction_metrics.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def read_split_summary(bench: Bench, split: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bench.output / split / "extraction_summary.json").read_bytes())
    return content


def read_digests(bench: Bench) -> dict[str, str]:
    """Return the sha256 of every file that the items wrote."""
    paths = [path for part in ("landmarks", "overlays", "previews") for path in bench.output.glob(f"*/{part}/*")]
    return {
        path.relative_to(bench.output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(paths)
    }


def test_run_writes_all_outputs(bench: Bench, corpus: Path, models: Path) -> None:
    (corpus / "train" / "empty").mkdir()
    assert bench.run(*build_options(bench, corpus, models, *ALL), flow=FLOW, small=False) == 3
    assert bench.failures["train.empty"]["failure_kind"] == "bad_input"
    train = read_metrics(bench, "train")
    assert list(train) == ["hello", "thanks", "torn"]
    assert [row["frames"] for row in train.values()] == ["12", "10", "6"]
    assert float(train["hello"]["hand_coverage"]) > 0.8
    assert float(train["hello"]["pose_coverage"]) == float(train["hello"]["face_coverage"]) == 1.0
    assert train["torn"]["bad_frames"] == "1"
    assert list(read_metrics(bench, "dev")) == ["one-frame"]
    samples = read_split_summary(bench, "train")["samples"]
    assert (samples["done"], samples["failed"]) == (3, 1)
    failed = json.loads((bench.output / "train" / "failed_samples.json").read_bytes())
    assert [row["name"] for row in failed] == ["empty"]
    assert json.loads((bench.output / "dev" / "failed_samples.json").read_bytes()) == []
    page = (bench.output / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 4
    with av.open(str(bench.output / "train" / "overlays" / "hello.mp4")) as clip:
        assert sum(1 for _ in clip.decode(video=0)) == 12


def test_truncated_frame_keeps_its_row_and_is_listed(bench: Bench, corpus: Path, models: Path) -> None:
    assert bench.run(*build_options(bench, corpus, models, "--split", "train", "--fill-gaps", 1), flow=FLOW) == 0
    file = read_landmarks(bench.output / "train" / "landmarks" / "torn.npz")
    assert [bad.name for bad in file.sequence.bad_frames] == ["img3.png"]
    raw = np.isnan(file.raw.points).all(axis=(1, 2))
    assert raw.tolist() == [False, False, False, True, False, False]
    assert not np.isnan(file.sequence.points[3]).all()


def test_outputs_do_not_depend_on_workers_and_order(bench: Bench, corpus: Path, models: Path) -> None:
    assert bench.run(*build_options(bench, corpus, models, *ALL, "--workers", 1, "--order", "manifest"), flow=FLOW) == 0
    expected = read_digests(bench)
    rerun_options = ("--workers", 2, "--order", "lightest", "--refresh")
    assert bench.run(*build_options(bench, corpus, models, *ALL, *rerun_options), flow=FLOW) == 0
    assert bench.count_items() == (4, 0, 0, 0)
    assert read_digests(bench) == expected
    assert len(expected) == 12


@pytest.mark.parametrize("format", ["npy", "npz", "pose", "parquet"])
def test_every_format_stores_the_same_points(bench: Bench, corpus: Path, models: Path, format: str) -> None:
    run_options = ("--split", "dev", "--format", format)
    assert bench.run(*build_options(bench, corpus, models, *run_options), flow=FLOW) == 0
    path = bench.output / "dev" / "landmarks" / f"one-frame.{format}"
    file = read_landmarks(path)
    assert file.sequence.frames == 1
    nose = file.sequence.get_part_points("pose_landmarks")
    assert nose is not None
    assert 0.4 < nose[0, 0, 0] < 0.7
    assert 0.1 < nose[0, 0, 1] < 0.5
    assert list(file.models) == ["holistic_assembled.task"]


def test_only_changed_samples_run_again(bench: Bench, corpus: Path, models: Path) -> None:
    assert bench.run(*build_options(bench, corpus, models), flow=FLOW) == 0
    assert bench.run(*build_options(bench, corpus, models), flow=FLOW) == 0
    assert bench.count_items() == (0, 4, 0, 0)
    (corpus / "train" / "hello" / "img11.png").unlink()
    assert bench.run(*build_options(bench, corpus, models), flow=FLOW) == 0
    assert bench.count_items() == (1, 3, 0, 0)
    assert read_metrics(bench, "train")["hello"]["frames"] == "11"
    assert {name: row["outcome"] for name, row in read_metrics(bench, "train").items()} == {
        "hello": "done",
        "thanks": "cached",
        "torn": "cached",
    }
    assert bench.run(*build_options(bench, corpus, models, "--fill-gaps", 1), flow=FLOW) == 0
    assert bench.count_items() == (4, 0, 0, 0)


def test_changed_annotations_do_not_run_samples_again(bench: Bench, frames: list[np.ndarray], models: Path) -> None:
    root = bench.folder / "phoenix2014-release" / "phoenix-2014-multisigner"
    for name in ("01April_2010_heute", "02April_2010_heute"):
        write_sample(root / "features" / "fullFrame-210x260px" / "dev" / name / "1", frames[:2])
    corpus = root / "annotations" / "manual" / "dev.corpus.csv"
    corpus.parent.mkdir(parents=True)
    table = "id|folder|signer|annotation\n01April_2010_heute|01April_2010_heute/1/*.png|Signer04|{}\n"
    table += "02April_2010_heute|02April_2010_heute/1/*.png|Signer01|REGEN KOMMEN\n"
    corpus.write_text(table.format("LIEB ZUSCHAUER"), encoding="utf-8")
    run_options = build_options(bench, bench.folder / "phoenix2014-release", models)
    assert bench.run(*run_options, flow=FLOW) == 0
    rows = read_metrics(bench, "dev")
    assert rows["01April_2010_heute"]["annotation"] == "LIEB ZUSCHAUER"
    assert rows["02April_2010_heute"]["signer"] == "Signer01"
    assert rows["02April_2010_heute"]["video_fps"] == "25.0"
    corpus.write_text(table.format("GUTEN ABEND"), encoding="utf-8")
    assert bench.run(*run_options, flow=FLOW) == 0
    assert bench.count_items() == (0, 2, 0, 0)
    assert read_metrics(bench, "dev")["01April_2010_heute"]["annotation"] == "GUTEN ABEND"


def test_folder_that_is_removed_during_the_run_is_bad_input(
    bench: Bench, corpus: Path, frames: list[np.ndarray], models: Path
) -> None:
    """Remove the last sample in the order while the first one runs."""
    write_sample(corpus / "train" / "zz-late", frames[:3])
    run_options = build_options(bench, corpus, models, "--split", "train", "--workers", 1, "--order", "manifest")
    with bench.start_flow(*run_options, flow=FLOW) as run:
        wait_until((bench.output / "train" / "landmarks" / "hello.npz").exists, "the first sample")
        shutil.rmtree(corpus / "train" / "zz-late")
        assert run.wait() == 3
    assert bench.failures.keys() == {"train.zz-late"}
    assert bench.failures["train.zz-late"]["failure_kind"] == "bad_input"


def test_unusual_samples_succeed(bench: Bench, frames: list[np.ndarray], models: Path) -> None:
    """Run mixed sizes, grey, 16 bits, transparency, no person, and two persons."""
    folder = bench.folder / "signs"
    half = cv2.resize(frames[1], None, fx=0.5, fy=0.75)
    write_sample(folder / "mixed-sizes", [frames[0], half, frames[2]])
    write_sample(folder / "grey", [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in frames[:2]])
    write_sample(folder / "sixteen-bits", [frame.astype(np.uint16) * 257 for frame in frames[:2]])
    write_sample(folder / "transparent", [cv2.cvtColor(frame, cv2.COLOR_BGR2BGRA) for frame in frames[:2]])
    write_sample(folder / "nobody", [np.full_like(frames[0], 90), np.full_like(frames[0], 120)])
    write_sample(folder / "two-persons", [np.hstack([frame, frame[:, ::-1]]) for frame in frames[:3]])
    assert bench.run(*build_options(bench, folder, models, "--rescue-hands"), flow=FLOW) == 0
    rows = read_metrics(bench, "all")
    assert {name: float(row["pose_coverage"]) for name, row in rows.items()} == {
        "mixed-sizes": 1.0,
        "grey": 1.0,
        "sixteen-bits": 1.0,
        "transparent": 1.0,
        "nobody": 0.0,
        "two-persons": 1.0,
    }
    assert rows["nobody"]["hand_coverage"] == "0.0"
    assert rows["two-persons"]["person_jumps"] == "0"
    assert read_split_summary(bench, "all")["without_person"] == 1
    nobody = read_landmarks(bench.output / "all" / "landmarks" / "nobody.npz")
    assert np.isnan(nobody.sequence.points).all()


def test_hands_model(bench: Bench, shared_data: Path, models: Path) -> None:
    folder = bench.folder / "videos"
    folder.mkdir()
    with av.open(str(shared_data / "hands" / "handonly" / "tfjs_asl_hand.25fps.mp4")) as container:
        images = [
            frame.to_ndarray(format="bgr24") for frame, _ in zip(container.decode(video=0), range(6), strict=False)
        ]
    write_sample(folder / "sign", images)
    run_options = ("--input", folder, "--output-dir", bench.output, "--model", "hands", "--format", "npy")
    assert bench.run(*run_options, flow=FLOW) == 0
    row = read_metrics(bench, "all")["sign"]
    assert row["pose_coverage"] == ""
    assert float(row["any_hand_coverage"]) == 1.0
    assert np.load(bench.output / "all" / "landmarks" / "sign.npy").shape == (6, 126)


def test_all_problems_are_reported_together(
    bench: Bench, corpus: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_options = ("--input", corpus, "--output-dir", bench.output, "--split", "tests", "--model", "holistc")
    assert bench.run(*run_options, "--priority", "signer", flow=FLOW) == 2
    message = capsys.readouterr().err
    for text in ("tests", "dev, train", "did you mean holistic?", "signer"):
        assert text in message
    assert "Traceback" not in message
    assert not bench.output.exists()


def test_options_that_the_model_does_not_support(
    bench: Bench, corpus: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_options = ("--input", corpus, "--output-dir", bench.output, "--model", "hands")
    assert bench.run(*run_options, "--rescue-hands", "--normalize", "shoulders", flow=FLOW) == 2
    message = capsys.readouterr().err
    assert "--rescue-hands" in message
    assert "--normalize" in message


def test_unavailable_model_is_named_with_its_digest(
    bench: Bench, corpus: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEADRACE_MODEL_URL", "http://127.0.0.1:9/")  # no server listens there
    monkeypatch.setenv("HEADRACE_CACHE", str(bench.folder / "cache"))
    assert bench.run("--input", corpus, "--output-dir", bench.output, flow=FLOW) == 2
    message = capsys.readouterr().err
    assert "holistic_landmarker.task" in message
    assert "e2dab61191e2dcd0a15f943d8e3ed1dce13c82dfa597b9dd39f562975a50c3f8" in message
    assert "HEADRACE_MODEL_DIR" in message
    assert not bench.output.exists()


def test_dry_run_predicts_and_writes_no_files(
    bench: Bench, corpus: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run(*build_options(bench, corpus, models, "--dry-run"), flow=FLOW) == 0
    assert "landmarks: predicted from" in capsys.readouterr().err
    assert not bench.output.exists()


def test_on_damage_decides_about_damaged_samples(bench: Bench, frames: list[np.ndarray], models: Path) -> None:
    """Keep the good frames of damaged samples by default; reject these samples, and no others, with "fail"."""
    corpus = bench.folder / "corpus"
    write_sample(corpus / "train" / "good", frames[:2])
    write_sample(corpus / "train" / "torn", frames[:3])
    truncate(corpus / "train" / "torn" / "img1.png")
    write_truncated_video(corpus / "train" / "short.mkv", frames[:SHORT_FRAMES])
    manifest = corpus / "samples.csv"
    manifest.write_text("path,name,split\ntrain/good,good,train\ntrain/torn,torn,train\ntrain/short.mkv,short,train\n")
    assert bench.run(*build_options(bench, manifest, models), flow=FLOW) == 0
    rows = read_metrics(bench, "train")
    assert {name: row["truncated"] for name, row in rows.items()} == {"good": "false", "short": "true", "torn": "false"}
    assert {name: row["bad_frames"] for name, row in rows.items()} == {"good": "0", "short": "0", "torn": "1"}
    assert "of at least" in rows["short"]["missing"]
    assert rows["good"]["missing"] == rows["torn"]["missing"] == ""
    assert int(rows["short"]["frames"]) < SHORT_FRAMES
    assert float(rows["short"]["stated_seconds"]) == pytest.approx(SHORT_FRAMES / 25, abs=0.1)
    assert bench.run(*build_options(bench, manifest, models, "--on-damage", "fail"), flow=FLOW) == 3
    assert {name: row["failure_kind"] for name, row in bench.failures.items()} == {
        "train.torn": "bad_input",
        "train.short": "bad_input",
    }
    assert "is truncated" in bench.failures["train.short"]["message"]
    assert "img1.png" in bench.failures["train.torn"]["message"]
    assert list(read_metrics(bench, "train")) == ["good"]
