"""Files of a split: their contents, consistency and atomic replacement."""

import csv
import io
import json
import math
import os

import numpy as np
import pyarrow.csv as pa_csv
import pytest

from tasks.landmarks.metrics_columns import COLUMNS, SUMMARY_KEYS
from tasks.landmarks.points import SKELETONS
from tasks.landmarks.quality import list_figures, measure_quality
from tasks.landmarks.sequence import LandmarkSequence, Source
from tasks.landmarks.splits import FAILED_NAME, METRICS_NAME, SUMMARY_NAME, SampleResult, write_split_files

MODELS = {"holistic_landmarker.task": "e2" * 32, "hand_landmarker.task": "fb" * 32}


def create_figures(frames=100, **others):
    return {"frames": frames, "bad_frames": 0, "video_fps": 25.0, "pose_coverage": 1.0, "face_coverage": 1.0,
            "hand_coverage": 0.5, "any_hand_coverage": 0.75} | others  # fmt: skip


def create_result(name, outcome="done", split="train", **others):
    run_values = {"seconds": 4.0, "cpu_seconds": 5.0, "attempts": 1}
    values_by_outcome = {
        "done": {**run_values, "values": create_figures()},
        "cached": {**run_values, "values": create_figures()},
        "failed": run_values,
    }
    return SampleResult(f"{split}.{name}", split, name, outcome, **values_by_outcome.get(outcome, {}) | others)


def create_failure(name, kind="bad_input", **others):
    return create_result(name, "failed", failure_kind=kind, message=f"{name} cannot be read", **others)


def write_files(folder, *results, workers=2, wall_seconds=10.0):
    return write_split_files(folder, results, workers, wall_seconds, MODELS)


def read_rows(folder, split="train"):
    text = (folder / split / METRICS_NAME).read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def read_summary(folder, split="train"):
    return json.loads((folder / split / SUMMARY_NAME).read_bytes())


def test_each_split_gets_three_files(tmp_path):
    paths = write_files(tmp_path, create_result("b", split="train"), create_result("a", split="dev"))
    names = [METRICS_NAME, SUMMARY_NAME, FAILED_NAME]
    assert paths == [tmp_path / split / name for split in ("dev", "train") for name in names]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(paths)


def test_without_samples_no_file_is_written(tmp_path):
    assert write_files(tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_rows_are_the_done_samples_sorted_by_name(tmp_path):
    write_files(
        tmp_path, create_result("c"), create_result("a", "cached"), create_failure("b"), create_result("d", "remaining")
    )
    assert [(row["name"], row["outcome"]) for row in read_rows(tmp_path)] == [("a", "cached"), ("c", "done")]


def test_columns_are_declared_and_in_order(tmp_path):
    write_files(tmp_path, create_result("a"))
    assert list(read_rows(tmp_path)[0]) == [column.name for column in COLUMNS]


def test_figures_read_back_exactly(tmp_path):
    pose = SKELETONS["pose"]
    points = np.random.default_rng(2).random((30, pose.points, 4), dtype=np.float32)
    source = np.full((30, 1), Source.DETECTED, np.uint8)
    quality = measure_quality(LandmarkSequence("pose", pose, points, source, np.arange(30) / 25, 25.0, 320, 240))
    write_files(tmp_path, create_result("a", values=list_figures(quality)))
    row = read_rows(tmp_path)[0]
    for name, value in list_figures(quality).items():
        assert row[name] == "" if value is None else float(row[name]) == value, name


def test_processing_speed_and_frame_rate_are_two_columns(tmp_path):
    write_files(tmp_path, create_result("a", values=create_figures(50), seconds=4.0))
    row = read_rows(tmp_path)[0]
    assert (row["frames_per_second"], row["video_fps"], row["seconds"]) == ("12.5", "25.0", "4.0")


@pytest.mark.parametrize("seconds", [None, 0.0])
def test_unknown_speed_is_empty(tmp_path, seconds):
    write_files(tmp_path, create_result("a", seconds=seconds))
    assert read_rows(tmp_path)[0]["frames_per_second"] == ""
    assert read_summary(tmp_path)["frames_per_second"] is None


def test_special_characters_survive_as_rfc_4180(tmp_path):
    sentence = 'Morgen "Regen",\r\nübermorgen; Schnee ☃'
    write_files(
        tmp_path, create_result("a", annotation=sentence, outputs=("train/landmarks/a.npz", "train/overlays/a.mp4"))
    )
    assert read_rows(tmp_path)[0]["annotation"] == sentence
    assert read_rows(tmp_path)[0]["outputs"] == "train/landmarks/a.npz;train/overlays/a.mp4"
    assert (tmp_path / "train" / METRICS_NAME).read_bytes().count(b"\r\n") == 3
    options = pa_csv.ParseOptions(newlines_in_values=True)
    table = pa_csv.read_csv(tmp_path / "train" / METRICS_NAME, parse_options=options)
    assert (table.num_rows, table["annotation"][0].as_py()) == (1, sentence)


def test_undecodable_name_gives_valid_files(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write_files(tmp_path, create_result(name), create_result(name, "failed", message=name))
    assert read_rows(tmp_path)[0]["name"] == "caf\\udce9"
    assert json.loads((tmp_path / "train" / FAILED_NAME).read_bytes())[0]["message"] == name


def test_manifest_columns_come_last_and_are_renamed_on_clashes(tmp_path):
    first_result = create_result(
        "a", fields={"signer": "Signer01", "frames": 7, "tags": ["x", "y"], "manifest_frames": "mine"}
    )
    write_files(tmp_path, first_result, create_result("b", fields={"weight": math.nan, "signer": None}))
    first, second = read_rows(tmp_path)
    assert list(first)[len(COLUMNS) :] == ["signer", "manifest_frames_", "tags", "manifest_frames", "weight"]
    assert (first["signer"], first["frames"], first["manifest_frames_"]) == ("Signer01", "100", "7")
    assert (first["tags"], first["manifest_frames"], first["weight"]) == ('["x", "y"]', "mine", "")
    assert (second["signer"], second["weight"]) == ("", "")


def test_summary_counts_outcomes_and_has_the_declared_keys(tmp_path):
    write_files(
        tmp_path,
        create_result("a"),
        create_result("b", "cached"),
        create_failure("c"),
        create_failure("d", "timeout"),
        create_result("e", "remaining"),
    )
    summary = read_summary(tmp_path)
    assert list(summary) == list(SUMMARY_KEYS)
    assert summary["samples"] == {"total": 5, "done": 1, "cached": 1, "failed": 2, "remaining": 1}
    assert summary["failure_kinds"] == {"bad_input": 1, "timeout": 1}
    assert (summary["workers"], summary["models"]) == (2, dict(sorted(MODELS.items())))


def test_times_of_cached_samples_are_listed_separately(tmp_path):
    old = create_result("b", "cached", seconds=1000.0, cpu_seconds=2000.0, values=create_figures(7))
    write_files(
        tmp_path,
        create_result("a", seconds=8.0, cpu_seconds=9.0),
        old,
        create_failure("c", seconds=2.0, cpu_seconds=1.0),
    )
    summary = read_summary(tmp_path)
    assert (summary["frames"], summary["sequential_seconds"], summary["cpu_seconds"]) == (100, 10.0, 10.0)
    assert summary["cached"] == {"frames": 7, "sequential_seconds": 1000.0, "cpu_seconds": 2000.0}
    assert summary["frames_per_second"]["max"] == 12.5
    assert (summary["wall_seconds"], summary["speedup"]) == (10.0, 1.0)


def test_speedup_is_the_runs_in_every_split(tmp_path):
    results = [
        create_result(str(number), split=split, seconds=3.0) for split in ("dev", "train") for number in range(5)
    ]
    write_files(tmp_path, *results, wall_seconds=16.0)
    for split in ("dev", "train"):
        summary = read_summary(tmp_path, split)
        assert (summary["sequential_seconds"], summary["run_sequential_seconds"]) == (15.0, 30.0)
        assert summary["speedup"] == 1.875


@pytest.mark.parametrize("outcome", ["cached", "remaining"])
def test_speedup_is_null_if_no_item_ran(tmp_path, outcome):
    write_files(tmp_path, create_result("a", outcome), wall_seconds=0.5)
    assert read_summary(tmp_path)["speedup"] is None
    assert read_summary(tmp_path)["frames_per_second"] is None


def test_summary_has_statistics_of_speed_and_coverage(tmp_path):
    speeds = [10, 20, 30, 40, 100]
    results = [create_result(str(s), seconds=1.0, values=create_figures(s, hand_coverage=s / 100)) for s in speeds]
    write_files(
        tmp_path,
        *results,
        create_result("old", "cached", seconds=1.0, values=create_figures(9999, hand_coverage=0.0)),
    )
    summary = read_summary(tmp_path)
    assert summary["frames_per_second"] == {"mean": 40, "median": 30, "p5": 12, "p95": 88, "min": 10, "max": 100}
    assert summary["coverage"]["hand"] == {"mean": 0.3333, "median": 0.25, "min": 0}
    assert summary["coverage"]["pose"] == {"mean": 1, "median": 1, "min": 1}


def test_coverage_of_undetected_parts_is_null(tmp_path):
    write_files(tmp_path, create_result("a", values=create_figures(pose_coverage=None, face_coverage=None)))
    coverage = read_summary(tmp_path)["coverage"]
    assert coverage["pose"] is coverage["face"] is None
    assert coverage["any_hand"] == {"mean": 0.75, "median": 0.75, "min": 0.75}


@pytest.mark.parametrize(
    ("coverages", "without"),
    [
        ({"pose_coverage": 0.0, "face_coverage": 0.0, "any_hand_coverage": 0.0}, 1),
        ({"pose_coverage": 0.0, "face_coverage": 0.1, "any_hand_coverage": 0.0}, 0),
        ({"pose_coverage": None, "face_coverage": None, "any_hand_coverage": 0.0}, 1),
        ({"pose_coverage": None, "face_coverage": None, "any_hand_coverage": None}, 0),
    ],
)
def test_samples_without_a_person_are_counted(tmp_path, coverages, without):
    write_files(tmp_path, create_result("a", values=create_figures(**coverages)), create_result("b"))
    assert read_summary(tmp_path)["without_person"] == without


def test_failed_samples_are_listed_by_name(tmp_path):
    write_files(tmp_path, create_failure("z"), create_failure("y", "crash", attempts=3), create_result("a"))
    entries = json.loads((tmp_path / "train" / FAILED_NAME).read_bytes())
    assert [list(entry.values()) for entry in entries] == [
        ["train.y", "y", None, "crash", "y cannot be read", 3],
        ["train.z", "z", None, "bad_input", "z cannot be read", 1],
    ]
    assert list(entries[0]) == ["id", "name", "path", "failure_kind", "message", "attempts"]


def test_empty_failure_list_replaces_the_old_one(tmp_path):
    write_files(tmp_path, create_failure("a"))
    write_files(tmp_path, create_result("a"))
    assert json.loads((tmp_path / "train" / FAILED_NAME).read_bytes()) == []


def test_order_of_the_results_does_not_change_the_bytes(tmp_path):
    results = [create_result(name, seconds=0.1 * number) for number, name in enumerate("cabd")] + [
        create_failure("x"),
        create_failure("w"),
    ]
    expected = [path.read_bytes() for path in write_files(tmp_path / "first", *results)]
    assert [path.read_bytes() for path in write_files(tmp_path / "second", *reversed(results))] == expected


def test_full_disk_leaves_the_old_files(tmp_path, monkeypatch):
    write_files(tmp_path, create_result("a"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def raise_disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", raise_disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_files(tmp_path, create_result("a"), create_result("b"))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_thousands_of_samples(tmp_path):
    write_files(tmp_path, *(create_result(f"{number:05}") for number in range(5000)), wall_seconds=10_000)
    assert len(read_rows(tmp_path)) == 5000
    assert read_summary(tmp_path)["speedup"] == 2.0


def test_rows_have_the_collections_name_and_path(tmp_path):
    names = {"title": "中文", "path": "한국어/中文.mp4"}
    write_files(tmp_path, create_result("a1", **names), create_failure("b1", **names))
    (row,) = read_rows(tmp_path)
    assert (row["name"], row["file_name"], row["path"]) == ("中文", "a1", "한국어/中文.mp4")
    (failure,) = json.loads((tmp_path / "train" / FAILED_NAME).read_bytes())
    assert (failure["id"], failure["name"], failure["path"]) == ("train.b1", "中文", "한국어/中文.mp4")
