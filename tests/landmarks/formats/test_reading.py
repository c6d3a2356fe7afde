"""Every format read back: what it holds is there again, and what is missing is missing."""

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
from tests.landmarks.formats.samples import changed, sample, write_into

FORMATS: tuple[LandmarkFormat, ...] = get_args(LandmarkFormat)
SCALAR = ("kind", "skeleton", "fps", "width_px", "height_px", "bad_frames")


def held(points: Points, kind: ModelKind, format: LandmarkFormat) -> Points:
    """What of ``points`` the format holds."""
    kept = points.copy()
    skeleton = SKELETONS[kind]
    if format in {"npy", "parquet"} and (face := skeleton.find_part("face_landmarks")):
        kept[:, face.start + 468 : face.start + face.points] = np.nan
    if format == "parquet" and (pose := skeleton.find_part("pose_landmarks")):
        kept[:, pose.span, 3] = np.nan
    return kept


def assert_same(found: Points, expected: Points, format: LandmarkFormat) -> None:
    """Equal, NaN where NaN is; in pixels and back within float32."""
    assert found.dtype == np.float32
    if format == "pose":
        np.testing.assert_allclose(found, expected, rtol=3e-7, atol=0)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("make", [sample, changed])
@pytest.mark.parametrize("kind", MODEL_KINDS)
@pytest.mark.parametrize("format", FORMATS)
def test_round_trip(tmp_path: Path, format: LandmarkFormat, kind: ModelKind, make) -> None:
    file = make(kind)
    found = read_landmarks(write_into(tmp_path, file, format)[0])
    assert_same(found.sequence.points, held(file.sequence.points, kind, format), format)
    if file.differs:
        assert_same(found.raw.points, file.raw.points, "npz")  # exact in every format
    else:
        assert found.raw is found.sequence
    for one, other in ((found.sequence, file.sequence), (found.raw, file.raw)):
        np.testing.assert_array_equal(one.source, other.source)
        assert one.source.dtype == np.uint8
        np.testing.assert_array_equal(one.times_seconds, other.times_seconds)
        assert [getattr(one, name) for name in SCALAR] == [getattr(other, name) for name in SCALAR]
    assert replace(found, sequence=file.sequence, raw=file.raw) == file


@pytest.mark.parametrize("format", FORMATS)
def test_nobody_is_found_in_any_frame(tmp_path: Path, format: LandmarkFormat) -> None:
    """Done with coverage 0: a file whose points are all missing, and no zeros."""
    file = sample()
    nobody = replace(
        file.sequence, points=np.full_like(file.sequence.points, np.nan), source=np.zeros_like(file.sequence.source)
    )
    found = read_landmarks(write_into(tmp_path, replace(file, sequence=nobody, raw=nobody), format)[0])
    assert np.isnan(found.sequence.points).all()
    assert (found.sequence.source == Source.MISSING).all()


@pytest.mark.parametrize("format", FORMATS)
def test_no_shoulders_to_normalise_by(tmp_path: Path, format: LandmarkFormat) -> None:
    """Nothing is left to use, and everything that was found is still there as it was found."""
    raw = sample().raw
    nothing = replace(raw, points=np.full_like(raw.points, np.nan), source=np.zeros_like(raw.source))
    file = replace(sample(), sequence=nothing, normalize="shoulders")
    found = read_landmarks(write_into(tmp_path, file, format)[0])
    assert np.isnan(found.sequence.points).all()
    assert (found.sequence.source == Source.MISSING).all()
    np.testing.assert_array_equal(found.raw.points, raw.points)
    np.testing.assert_array_equal(found.raw.source, raw.source)


@pytest.mark.parametrize("format", FORMATS)
def test_one_frame(tmp_path: Path, format: LandmarkFormat) -> None:
    file = sample()
    sequence = file.sequence
    one = replace(
        sequence,
        points=sequence.points[:1],
        source=sequence.source[:1],
        times_seconds=sequence.times_seconds[:1],
        bad_frames=(),
    )
    found = read_landmarks(write_into(tmp_path, replace(file, sequence=one, raw=one), format)[0])
    assert_same(found.sequence.points, held(one.points, "holistic", format), format)


@pytest.mark.parametrize("format", FORMATS)
def test_a_truncated_file_is_told(tmp_path: Path, format: LandmarkFormat) -> None:
    path = write_into(tmp_path, sample(), format)[0]
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"is damaged, or no landmarks of Headrace: .*; extract it again"):
        read_landmarks(path)


@pytest.mark.parametrize("format", ["npy", "pose"])
def test_a_side_file_of_another_model_is_told(tmp_path: Path, format: LandmarkFormat) -> None:
    path = write_into(tmp_path, sample("hands"), format)[0]
    other = write_into(tmp_path / "other", sample("pose"), format)
    path.write_bytes(other[0].read_bytes())
    with pytest.raises(ValueError, match="is damaged"):
        read_landmarks(path)


@pytest.mark.parametrize("format", ["npy", "pose", "parquet"])
def test_raw_points_of_another_sample_are_told(tmp_path: Path, format: LandmarkFormat) -> None:
    path = write_into(tmp_path, changed(), format)[0]
    np.save(path.with_suffix(".raw.npy"), changed().raw.points[1:])
    with pytest.raises(ValueError, match=r"points of shape \(11, 553, 4\)"):
        read_landmarks(path)


@pytest.mark.parametrize("format", ["npy", "pose"])
def test_a_missing_side_file_is_named(tmp_path: Path, format: LandmarkFormat) -> None:
    path = write_into(tmp_path, sample(), format)[0]
    path.with_suffix(".json").unlink()
    with pytest.raises(FileNotFoundError, match=r"pid0\.json"):
        read_landmarks(path)


def test_a_later_version_is_told(tmp_path: Path) -> None:
    path = write_into(tmp_path, sample(), "pose")[0]
    side = path.with_suffix(".json")
    side.write_text(side.read_text(encoding="utf-8").replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(ValueError, match="format_version is 2, this program reads 1"):
        read_landmarks(path)


def test_a_parquet_from_elsewhere_is_told(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "1234.parquet"
    pq.write_table(pa.table({axis: np.zeros(543) for axis in "xyz"}), path)
    with pytest.raises(ValueError, match="is damaged, or no landmarks of Headrace"):
        read_landmarks(path)


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file of landmarks: those end in \.npz, \.npy, \.pose, \.parquet"):
        read_landmarks(tmp_path / "a.csv")
