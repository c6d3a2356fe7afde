"""Every format read back: stored values are equal, and missing values are missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tasks.landmarks.formats.reading import read_landmarks
from tasks.landmarks.params import LandmarkFormat
from tasks.landmarks.points import MODEL_KINDS, SKELETONS, ModelKind
from tasks.landmarks.sequence import Points, Source
from tests.landmarks.formats.samples import create_modified_sample, create_sample, write_into

FORMATS: tuple[LandmarkFormat, ...] = get_args(LandmarkFormat)
SCALAR = ("kind", "skeleton", "fps", "width_px", "height_px", "bad_frames")


def drop_unsupported(points: Points, kind: ModelKind, format: LandmarkFormat) -> Points:
    """Return the part of ``points`` that the format stores."""
    kept = points.copy()
    skeleton = SKELETONS[kind]
    if format in {"npy", "parquet"} and (face := skeleton.find_part("face_landmarks")):
        kept[:, face.start + 468 : face.start + face.points] = np.nan
    if format == "parquet" and (pose := skeleton.find_part("pose_landmarks")):
        kept[:, pose.span, 3] = np.nan
    return kept


def assert_same(actual: Points, expected: Points, format: LandmarkFormat) -> None:
    """Compare with equal NaN; pose files convert to pixels and back within float32."""
    assert actual.dtype == np.float32
    if format == "pose":
        np.testing.assert_allclose(actual, expected, rtol=3e-7, atol=0)
    else:
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("create", [create_sample, create_modified_sample])
@pytest.mark.parametrize("kind", MODEL_KINDS)
@pytest.mark.parametrize("format", FORMATS)
def test_round_trip_preserves_the_sample(tmp_path: Path, format: LandmarkFormat, kind: ModelKind, create) -> None:
    file = create(kind)
    restored = read_landmarks(write_into(tmp_path, file, format)[0])
    assert_same(restored.sequence.points, drop_unsupported(file.sequence.points, kind, format), format)
    if file.is_modified:
        assert_same(restored.raw.points, file.raw.points, "npz")  # exact in every format
    else:
        assert restored.raw is restored.sequence
    for actual, expected in ((restored.sequence, file.sequence), (restored.raw, file.raw)):
        np.testing.assert_array_equal(actual.source, expected.source)
        assert actual.source.dtype == np.uint8
        np.testing.assert_array_equal(actual.times_seconds, expected.times_seconds)
        assert [getattr(actual, name) for name in SCALAR] == [getattr(expected, name) for name in SCALAR]
    assert replace(restored, sequence=file.sequence, raw=file.raw) == file


@pytest.mark.parametrize("format", FORMATS)
def test_sample_without_a_person_reads_back_as_missing(tmp_path: Path, format: LandmarkFormat) -> None:
    """Write a file whose points are all missing."""
    file = create_sample()
    nobody = replace(
        file.sequence, points=np.full_like(file.sequence.points, np.nan), source=np.zeros_like(file.sequence.source)
    )
    restored = read_landmarks(write_into(tmp_path, replace(file, sequence=nobody, raw=nobody), format)[0])
    assert np.isnan(restored.sequence.points).all()
    assert (restored.sequence.source == Source.MISSING).all()


@pytest.mark.parametrize("format", FORMATS)
def test_sample_without_shoulders_keeps_its_raw_points(tmp_path: Path, format: LandmarkFormat) -> None:
    """Write a normalized sample whose points are all missing because it has no shoulders."""
    raw = create_sample().raw
    empty = replace(raw, points=np.full_like(raw.points, np.nan), source=np.zeros_like(raw.source))
    file = replace(create_sample(), sequence=empty, normalize="shoulders")
    restored = read_landmarks(write_into(tmp_path, file, format)[0])
    assert np.isnan(restored.sequence.points).all()
    assert (restored.sequence.source == Source.MISSING).all()
    np.testing.assert_array_equal(restored.raw.points, raw.points)
    np.testing.assert_array_equal(restored.raw.source, raw.source)


@pytest.mark.parametrize("format", FORMATS)
def test_sample_with_one_frame(tmp_path: Path, format: LandmarkFormat) -> None:
    file = create_sample()
    sequence = file.sequence
    single = replace(
        sequence,
        points=sequence.points[:1],
        source=sequence.source[:1],
        times_seconds=sequence.times_seconds[:1],
        bad_frames=(),
    )
    restored = read_landmarks(write_into(tmp_path, replace(file, sequence=single, raw=single), format)[0])
    assert_same(restored.sequence.points, drop_unsupported(single.points, "holistic", format), format)


@pytest.mark.parametrize("format", FORMATS)
def test_truncated_file_is_rejected(tmp_path: Path, format: LandmarkFormat) -> None:
    path = write_into(tmp_path, create_sample(), format)[0]
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"is damaged or not a landmark file of Headrace: .*; extract it again"):
        read_landmarks(path)


@pytest.mark.parametrize("format", ["npy", "pose"])
def test_side_file_of_another_model_is_rejected(tmp_path: Path, format: LandmarkFormat) -> None:
    path = write_into(tmp_path, create_sample("hands"), format)[0]
    other = write_into(tmp_path / "other", create_sample("pose"), format)
    path.write_bytes(other[0].read_bytes())
    with pytest.raises(ValueError, match="is damaged"):
        read_landmarks(path)


@pytest.mark.parametrize("format", ["npy", "pose", "parquet"])
def test_raw_points_of_another_sample_are_rejected(tmp_path: Path, format: LandmarkFormat) -> None:
    path = write_into(tmp_path, create_modified_sample(), format)[0]
    np.save(path.with_suffix(".raw.npy"), create_modified_sample().raw.points[1:])
    with pytest.raises(ValueError, match=r"points of shape \(11, 553, 4\)"):
        read_landmarks(path)


@pytest.mark.parametrize("format", ["npy", "pose"])
def test_missing_side_file_is_named(tmp_path: Path, format: LandmarkFormat) -> None:
    path = write_into(tmp_path, create_sample(), format)[0]
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"pid0\.json"):
        read_landmarks(path)


def test_newer_format_version_is_rejected(tmp_path: Path) -> None:
    path = write_into(tmp_path, create_sample(), "pose")[0]
    side = path.with_suffix(".json")
    side.write_text(side.read_text(encoding="utf-8").replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(ValueError, match="format_version is 2, this version reads 1"):
        read_landmarks(path)


def test_foreign_parquet_is_rejected(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "1234.parquet"
    pq.write_table(pa.table({axis: np.zeros(543) for axis in "xyz"}), path)
    with pytest.raises(ValueError, match="is damaged or not a landmark file of Headrace"):
        read_landmarks(path)


def test_unknown_suffix_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"is not a landmark file; the name must end in \.npz, \.npy, \.pose, \.parquet"
    ):
        read_landmarks(tmp_path / "a.csv")
