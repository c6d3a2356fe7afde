"""The files of a split: what is in them, that they agree with each other, and that they are whole or not there."""

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
from tasks.landmarks.quality import measure, values
from tasks.landmarks.sequence import LandmarkSequence, Source
from tasks.landmarks.splits import FAILED_NAME, METRICS_NAME, SUMMARY_NAME, SampleAccount, write_split_files

MODELS = {"holistic_landmarker.task": "e2" * 32, "hand_landmarker.task": "fb" * 32}


def figures(frames=100, **others):
    return {"frames": frames, "bad_frames": 0, "video_fps": 25.0, "pose_coverage": 1.0, "face_coverage": 1.0,
            "hand_coverage": 0.5, "any_hand_coverage": 0.75} | others  # fmt: skip


def sample(name, outcome="done", split="train", **others):
    ran = {"seconds": 4.0, "cpu_seconds": 5.0, "attempts": 1}
    given = {"done": {**ran, "values": figures()}, "cached": {**ran, "values": figures()}, "failed": ran}
    return SampleAccount(f"{split}.{name}", split, name, outcome, **given.get(outcome, {}) | others)


def failed(name, kind="bad_input", **others):
    return sample(name, "failed", failure_kind=kind, message=f"{name} cannot be read", **others)


def write(folder, *accounts, workers=2, wall_seconds=10.0):
    return write_split_files(folder, accounts, workers, wall_seconds, MODELS)


def rows(folder, split="train"):
    text = (folder / split / METRICS_NAME).read_bytes().decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def told(folder, split="train"):
    return json.loads((folder / split / SUMMARY_NAME).read_bytes())


def test_three_files_for_each_split_and_nothing_else(tmp_path):
    paths = write(tmp_path, sample("b", split="train"), sample("a", split="dev"))
    names = [METRICS_NAME, SUMMARY_NAME, FAILED_NAME]
    assert paths == [tmp_path / split / name for split in ("dev", "train") for name in names]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(paths)


def test_without_samples_there_is_nothing_to_write(tmp_path):
    assert write(tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_a_row_for_each_sample_that_is_done_by_name(tmp_path):
    write(tmp_path, sample("c"), sample("a", "cached"), failed("b"), sample("d", "remaining"))
    assert [(row["name"], row["outcome"]) for row in rows(tmp_path)] == [("a", "cached"), ("c", "done")]


def test_the_columns_are_the_declared_ones_in_their_order(tmp_path):
    write(tmp_path, sample("a"))
    assert list(rows(tmp_path)[0]) == [column.name for column in COLUMNS]


def test_the_figures_of_a_sample_read_back_as_they_were(tmp_path):
    pose = SKELETONS["pose"]
    points = np.random.default_rng(2).random((30, pose.points, 4), dtype=np.float32)
    source = np.full((30, 1), Source.DETECTED, np.uint8)
    quality = measure(LandmarkSequence("pose", pose, points, source, np.arange(30) / 25, 25.0, 320, 240))
    write(tmp_path, sample("a", values=values(quality)))
    row = rows(tmp_path)[0]
    for name, value in values(quality).items():
        assert row[name] == "" if value is None else float(row[name]) == value, name


def test_processing_speed_and_frame_rate_are_two_columns(tmp_path):
    write(tmp_path, sample("a", values=figures(50), seconds=4.0))
    row = rows(tmp_path)[0]
    assert (row["frames_per_second"], row["video_fps"], row["seconds"]) == ("12.5", "25.0", "4.0")


@pytest.mark.parametrize("seconds", [None, 0.0])
def test_speed_that_nobody_measured_is_empty(tmp_path, seconds):
    write(tmp_path, sample("a", seconds=seconds))
    assert rows(tmp_path)[0]["frames_per_second"] == ""
    assert told(tmp_path)["frames_per_second"] is None


def test_texts_of_all_kinds_survive_as_rfc_4180(tmp_path):
    sentence = 'Morgen "Regen",\r\nübermorgen; Schnee ☃'
    write(tmp_path, sample("a", annotation=sentence, outputs=("train/landmarks/a.npz", "train/overlays/a.mp4")))
    assert rows(tmp_path)[0]["annotation"] == sentence
    assert rows(tmp_path)[0]["outputs"] == "train/landmarks/a.npz;train/overlays/a.mp4"
    assert (tmp_path / "train" / METRICS_NAME).read_bytes().count(b"\r\n") == 3
    options = pa_csv.ParseOptions(newlines_in_values=True)
    table = pa_csv.read_csv(tmp_path / "train" / METRICS_NAME, parse_options=options)
    assert (table.num_rows, table["annotation"][0].as_py()) == (1, sentence)


def test_a_name_that_is_no_text_leaves_files_that_are(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    write(tmp_path, sample(name), sample(name, "failed", message=name))
    assert rows(tmp_path)[0]["name"] == "caf\\udce9"
    assert json.loads((tmp_path / "train" / FAILED_NAME).read_bytes())[0]["message"] == name


def test_carried_columns_come_last_and_none_hides_ours(tmp_path):
    one = sample("a", fields={"signer": "Signer01", "frames": 7, "tags": ["x", "y"], "manifest_frames": "mine"})
    write(tmp_path, one, sample("b", fields={"weight": math.nan, "signer": None}))
    first, second = rows(tmp_path)
    assert list(first)[len(COLUMNS) :] == ["signer", "manifest_frames_", "tags", "manifest_frames", "weight"]
    assert (first["signer"], first["frames"], first["manifest_frames_"]) == ("Signer01", "100", "7")
    assert (first["tags"], first["manifest_frames"], first["weight"]) == ('["x", "y"]', "mine", "")
    assert (second["signer"], second["weight"]) == ("", "")


def test_the_summary_counts_every_outcome_and_has_the_declared_keys(tmp_path):
    write(tmp_path, sample("a"), sample("b", "cached"), failed("c"), failed("d", "timeout"), sample("e", "remaining"))
    summary = told(tmp_path)
    assert list(summary) == list(SUMMARY_KEYS)
    assert summary["samples"] == {"total": 5, "done": 1, "cached": 1, "failed": 2, "remaining": 1}
    assert summary["failure_kinds"] == {"bad_input": 1, "timeout": 1}
    assert (summary["workers"], summary["models"]) == (2, dict(sorted(MODELS.items())))


def test_what_earlier_runs_took_is_told_apart(tmp_path):
    old = sample("b", "cached", seconds=1000.0, cpu_seconds=2000.0, values=figures(7))
    write(tmp_path, sample("a", seconds=8.0, cpu_seconds=9.0), old, failed("c", seconds=2.0, cpu_seconds=1.0))
    summary = told(tmp_path)
    assert (summary["frames"], summary["sequential_seconds"], summary["cpu_seconds"]) == (100, 10.0, 10.0)
    assert summary["cached"] == {"frames": 7, "sequential_seconds": 1000.0, "cpu_seconds": 2000.0}
    assert summary["frames_per_second"]["max"] == 12.5
    assert (summary["wall_seconds"], summary["speedup"]) == (10.0, 1.0)


def test_the_speed_up_is_of_the_run_and_the_same_in_every_split(tmp_path):
    accounts = [sample(str(number), split=split, seconds=3.0) for split in ("dev", "train") for number in range(5)]
    write(tmp_path, *accounts, wall_seconds=16.0)
    for split in ("dev", "train"):
        summary = told(tmp_path, split)
        assert (summary["sequential_seconds"], summary["run_sequential_seconds"]) == (15.0, 30.0)
        assert summary["speedup"] == 1.875


@pytest.mark.parametrize("outcome", ["cached", "remaining"])
def test_where_nothing_ran_there_is_no_speed_up(tmp_path, outcome):
    write(tmp_path, sample("a", outcome), wall_seconds=0.5)
    assert told(tmp_path)["speedup"] is None
    assert told(tmp_path)["frames_per_second"] is None


def test_spread_of_speed_and_coverage(tmp_path):
    speeds = [10, 20, 30, 40, 100]
    accounts = [sample(str(s), seconds=1.0, values=figures(s, hand_coverage=s / 100)) for s in speeds]
    write(tmp_path, *accounts, sample("old", "cached", seconds=1.0, values=figures(9999, hand_coverage=0.0)))
    summary = told(tmp_path)
    assert summary["frames_per_second"] == {"mean": 40, "median": 30, "p5": 12, "p95": 88, "min": 10, "max": 100}
    assert summary["coverage"]["hand"] == {"mean": 0.3333, "median": 0.25, "min": 0}
    assert summary["coverage"]["pose"] == {"mean": 1, "median": 1, "min": 1}


def test_coverage_of_what_the_model_does_not_look_for_is_null(tmp_path):
    write(tmp_path, sample("a", values=figures(pose_coverage=None, face_coverage=None)))
    coverage = told(tmp_path)["coverage"]
    assert coverage["pose"] is coverage["face"] is None
    assert coverage["any_hand"] == {"mean": 0.75, "median": 0.75, "min": 0.75}


@pytest.mark.parametrize(
    ("found", "without"),
    [
        ({"pose_coverage": 0.0, "face_coverage": 0.0, "any_hand_coverage": 0.0}, 1),
        ({"pose_coverage": 0.0, "face_coverage": 0.1, "any_hand_coverage": 0.0}, 0),
        ({"pose_coverage": None, "face_coverage": None, "any_hand_coverage": 0.0}, 1),
        ({"pose_coverage": None, "face_coverage": None, "any_hand_coverage": None}, 0),
    ],
)
def test_samples_in_which_nobody_was_found_are_counted(tmp_path, found, without):
    write(tmp_path, sample("a", values=figures(**found)), sample("b"))
    assert told(tmp_path)["without_person"] == without


def test_failed_samples_are_listed_by_name(tmp_path):
    write(tmp_path, failed("z"), failed("y", "crash", attempts=3), sample("a"))
    entries = json.loads((tmp_path / "train" / FAILED_NAME).read_bytes())
    assert [list(entry.values()) for entry in entries] == [
        ["train.y", "y", None, "crash", "y cannot be read", 3],
        ["train.z", "z", None, "bad_input", "z cannot be read", 1],
    ]
    assert list(entries[0]) == ["id", "name", "path", "failure_kind", "message", "attempts"]


def test_without_failures_the_list_is_empty_and_replaces_the_old_one(tmp_path):
    write(tmp_path, failed("a"))
    write(tmp_path, sample("a"))
    assert json.loads((tmp_path / "train" / FAILED_NAME).read_bytes()) == []


def test_the_order_of_the_accounts_changes_no_byte(tmp_path):
    accounts = [sample(name, seconds=0.1 * number) for number, name in enumerate("cabd")] + [failed("x"), failed("w")]
    one = [path.read_bytes() for path in write(tmp_path / "one", *accounts)]
    assert [path.read_bytes() for path in write(tmp_path / "two", *reversed(accounts))] == one


def test_a_disk_that_takes_no_more_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    write(tmp_path, sample("a"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, sample("a"), sample("b"))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_thousands_of_samples_are_no_matter(tmp_path):
    write(tmp_path, *(sample(f"{number:05}") for number in range(5000)), wall_seconds=10_000)
    assert len(rows(tmp_path)) == 5000
    assert told(tmp_path)["speedup"] == 2.0


def test_rows_have_the_name_that_the_collection_gives_and_the_path(tmp_path):
    named = {"title": "中文", "path": "한국어/中文.mp4"}
    write(tmp_path, sample("a1", **named), failed("b1", **named))
    (row,) = rows(tmp_path)
    assert (row["name"], row["file_name"], row["path"]) == ("中文", "a1", "한국어/中文.mp4")
    (failure,) = json.loads((tmp_path / "train" / FAILED_NAME).read_bytes())
    assert (failure["id"], failure["name"], failure["path"]) == ("train.b1", "中文", "한국어/中文.mp4")
