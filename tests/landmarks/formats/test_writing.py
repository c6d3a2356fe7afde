"""Written files, opened like their users open them: with numpy, pyarrow, and Kaggle's starter code."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.landmarks.formats import islr, npy
from tasks.landmarks.formats.reading import read_landmarks
from tasks.landmarks.formats.writing import find_name_clashes
from tasks.landmarks.params import LandmarkFormat
from tasks.landmarks.points import MODEL_KINDS, SKELETONS
from tests.landmarks.formats.samples import (
    BAD,
    DIGESTS,
    EMPTY,
    FILLED,
    FRAMES,
    create_modified_sample,
    create_sample,
    write_into,
)

FORMATS: tuple[LandmarkFormat, ...] = get_args(LandmarkFormat)
NAME = create_sample().name
ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("format", "suffixes", "more"),
    [
        ("npz", [".npz"], []),
        ("npy", [".npy", ".mask.npy", ".json"], [".raw.npy"]),
        ("pose", [".pose", ".json"], [".raw.npy"]),
        ("parquet", [".parquet"], [".raw.npy"]),
    ],
)
def test_each_format_writes_its_files(
    tmp_path: Path, format: LandmarkFormat, suffixes: list[str], more: list[str]
) -> None:
    written = write_into(tmp_path, create_sample(), format)
    assert [path.name for path in written] == [NAME + suffix for suffix in suffixes]
    assert all(path.is_file() for path in written)
    assert [path.name for path in write_into(tmp_path, create_modified_sample(), format)] == [
        "a" + end for end in suffixes + more
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_same_sample_gives_the_same_bytes(tmp_path: Path, format: LandmarkFormat) -> None:
    first, second = (write_into(tmp_path / folder, create_modified_sample(), format) for folder in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize("format", FORMATS)
def test_order_of_the_models_does_not_change_the_bytes(tmp_path: Path, format: LandmarkFormat) -> None:
    reordered = replace(create_sample(), models=dict(reversed(DIGESTS.items())))
    first, second = write_into(tmp_path / "a", create_sample(), format), write_into(tmp_path / "b", reordered, format)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_npz_contains_all_arrays_and_metadata(tmp_path: Path) -> None:
    file = create_modified_sample()
    [path] = write_into(tmp_path, file, "npz")
    with np.load(path, allow_pickle=False) as arrays:
        assert list(arrays) == [*("landmarks", "mask", "source", "raw", "raw_source", "times_seconds", "metadata")]
        assert arrays["landmarks"].dtype == arrays["raw"].dtype == np.float32
        np.testing.assert_array_equal(arrays["landmarks"], file.sequence.points)
        np.testing.assert_array_equal(arrays["raw"], file.raw.points)
        np.testing.assert_array_equal(arrays["mask"], ~np.isnan(file.sequence.points[..., 0]))
        np.testing.assert_array_equal(arrays["source"], file.sequence.source)
        np.testing.assert_array_equal(arrays["raw_source"], file.raw.source)
        np.testing.assert_array_equal(arrays["times_seconds"], file.sequence.times_seconds)
        described = json.loads(str(arrays["metadata"]))
    assert described["models"] == DIGESTS
    assert (described["fps"], described["width_px"], described["height_px"]) == (30000 / 1001, 210, 260)
    assert described["bad_frames"] == [{"frame_index": BAD, "name": "images0004.png", "reason": "truncated: „Übung“"}]
    assert described["parts"][2] == {"name": "left_hand_landmarks", "start": 511, "points": 21}
    assert described["point_names"]["right_hand_landmarks"][8] == "index_finger_tip"
    with zipfile.ZipFile(path) as archive:  # independent of the clock
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_npz_has_raw_points_only_if_they_can_differ(tmp_path: Path) -> None:
    [path] = write_into(tmp_path, create_sample(), "npz")
    with np.load(path) as arrays:
        assert "raw" not in arrays


def test_npy_is_the_classic_vector(tmp_path: Path) -> None:
    file = create_sample()
    path, mask_path, side = write_into(tmp_path, file, "npy")
    vectors, points = np.load(path), file.sequence.points
    assert (vectors.shape, vectors.dtype) == ((FRAMES, 1662), np.float32)
    tutorial = [points[0, :33].ravel(), points[0, 33:501, :3].ravel(), *(points[0, 511:, :3].reshape(2, -1))]
    np.testing.assert_array_equal(vectors[0], np.concatenate(tutorial))
    assert np.isnan(vectors[[BAD, EMPTY]]).all()
    assert np.isnan(vectors[FILLED, -63:]).all()
    assert not np.isnan(vectors[FILLED, :-63]).any()
    mask = np.load(mask_path)
    assert (mask.shape, mask.dtype) == ((FRAMES, 4), np.bool_)
    described = json.loads(side.read_text(encoding="utf-8"))
    sizes = [block["stop"] - block["start"] for block in described["blocks"]]
    np.testing.assert_array_equal(np.repeat(mask, sizes, axis=1), ~np.isnan(vectors))
    assert (described["models"], described["fps"]) == (DIGESTS, 30000 / 1001)
    assert [frame["frame_index"] for frame in described["bad_frames"]] == [BAD]


@pytest.mark.parametrize(("kind", "columns"), [("holistic", 1662), ("hands", 126), ("pose", 132), ("face", 1404)])
def test_blocks_cover_the_vector(kind, columns: int) -> None:
    blocks = npy.list_blocks(SKELETONS[kind])
    assert [block["start"] for block in blocks] == [0, *(block["stop"] for block in blocks[:-1])]
    assert blocks[-1]["stop"] == columns == npy.flatten(create_sample(kind).sequence).shape[1]
    assert [block["part"] for block in blocks] == [part.name for part in SKELETONS[kind].parts]


def test_parquet_has_the_layout_of_islr(tmp_path: Path) -> None:
    file = create_sample()
    [path] = write_into(tmp_path, file, "parquet")
    table = pq.read_table(path)
    assert [(field.name, field.type) for field in table.schema] == [
        ("frame", pa.int16()),
        ("row_id", pa.string()),
        ("type", pa.string()),
        ("landmark_index", pa.int16()),
        *((axis, pa.float64()) for axis in "xyz"),
    ]
    assert table.num_rows == FRAMES * 543
    rows = table.slice(2 * 543, 543).to_pylist()
    assert {row["frame"] for row in rows} == {2}
    assert [(rows[at]["row_id"]) for at in (0, 467, 468, 489, 522, 542)] == [
        *("2-face-0", "2-face-467", "2-left_hand-0", "2-pose-0", "2-right_hand-0", "2-right_hand-20")
    ]
    assert all(row["row_id"] == f"2-{row['type']}-{row['landmark_index']}" for row in rows)
    assert rows[489 + 15]["x"] == file.sequence.points[2, 15, 0]  # the left wrist


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_parquet_of_any_model_reshapes_to_543_rows(tmp_path: Path, kind) -> None:
    file = create_sample(kind)
    [path] = write_into(tmp_path, file, "parquet")
    table = pq.read_table(path, columns=["x", "y", "z"])
    # load_relevant_data_subset of the competition's page
    data = np.stack([table[axis].to_numpy() for axis in "xyz"], axis=1)
    frames = data.reshape(int(len(data) / 543), 543, 3).astype(np.float32)
    spans = {
        "face_landmarks": slice(0, 468),
        "left_hand_landmarks": slice(468, 489),
        "pose_landmarks": slice(489, 522),
        "right_hand_landmarks": slice(522, 543),
    }
    for name, span in spans.items():
        points = file.sequence.get_part_points(name)
        expected = np.full_like(frames[:, span], np.nan) if points is None else points[:, :468, :3]
        np.testing.assert_array_equal(frames[:, span], expected)


def test_parquet_has_metadata(tmp_path: Path) -> None:
    [path] = write_into(tmp_path, create_sample(), "parquet")
    described = json.loads(pq.read_schema(path).metadata[islr.METADATA_KEY])
    assert (described["models"], described["fps"], described["frames"]) == (DIGESTS, 30000 / 1001, FRAMES)
    assert described["source"]["right_hand_landmarks"][4:7] == [1, 0, 2]


def test_parquet_numbers_frames_across_row_groups(tmp_path: Path) -> None:
    [path] = write_into(tmp_path, create_sample("hands", 600), "parquet")
    assert pq.ParquetFile(path).num_row_groups == 3
    frames = pq.read_table(path, columns=["frame"])["frame"].to_numpy()
    np.testing.assert_array_equal(frames, np.repeat(np.arange(600), 543))


def test_parquet_uses_int32_for_very_long_samples() -> None:
    assert islr.build_schema(32768).field("frame").type == pa.int16()
    assert islr.build_schema(32769).field("frame").type == pa.int32()


def test_names_with_the_same_files_are_found() -> None:
    names = ["a", "a.mask", "b.raw", "c", "c.raw", "d.json"]
    assert find_name_clashes(names, "npy") == [("a", "a.mask"), ("c", "c.raw")]
    assert [find_name_clashes(names, other) for other in ("npz", "pose", "parquet")] == [[], [], []]


@pytest.mark.parametrize("format", FORMATS)
def test_other_names_share_no_files(tmp_path: Path, format: LandmarkFormat) -> None:
    """Write samples whose ids have dots and look like suffixes."""
    names = ["a", "a.npz", "a.npy", "a.json", "a.pose", "a.mask", "a.raw"]
    clash = {other for _, other in find_name_clashes(names, format)}
    files = [replace(create_modified_sample(), name=name) for name in names if name not in clash]
    written = [path for file in files for path in write_into(tmp_path, file, format)]
    assert len(set(written)) == len(written)
    assert [read_landmarks(tmp_path / "landmarks" / f"{file.name}.{format}").name for file in files] == [
        file.name for file in files
    ]


@pytest.mark.parametrize(("format", "also"), [("npz", []), ("pose", ["pose_format"]), ("parquet", ["pyarrow"])])
def test_each_format_imports_only_its_libraries(tmp_path: Path, format: LandmarkFormat, also: list[str]) -> None:
    """Check the imports: mediapipe costs 60 MB per process, pandas 47, pyarrow 40."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tests.landmarks.formats.samples import create_modified_sample, write_into\n"
        "write_into(Path(sys.argv[1]), create_modified_sample(), sys.argv[2])\n"
        "heavy = ('mediapipe', 'cv2', 'matplotlib', 'scipy', 'torch', 'pandas', 'pyarrow', 'pose_format')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(tmp_path), format]
    process = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert process.stdout.strip() == str(also)
