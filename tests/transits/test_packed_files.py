"""Light curves compressed by gzip, or in other text formats than CSV: the same points as in plain files."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.transits.formats import light_curve_file
from tasks.transits.formats.light_curve_file import read_content
from tasks.transits.light_curve import LightCurve, Star
from tasks.transits.reading import read_light_curve

from .observations import mission_file

TIME = 1325.3 + np.arange(200) / 720
FLUX = 1.0 + 1e-4 * np.sin(np.arange(200))
ROWS = [f"{time:.6f} {flux:.7f} 0.001" for time, flux in zip(TIME, FLUX, strict=True)]


def read(path: Path, content: bytes | str) -> LightCurve:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_light_curve([path], Star(), "pdcsap")


def join_with_commas(header: str = "time,flux,flux_err") -> str:
    return "\n".join([header, *(row.replace(" ", ",") for row in ROWS)]) + "\n"


def read_error(path: Path, content: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        read(path, content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check(curve: LightCurve) -> None:
    assert np.allclose(curve.time, TIME, atol=2e-6)
    assert np.allclose(curve.flux, FLUX / np.median(FLUX), atol=2e-7)


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.dat", "a.lc", "a"])
def test_text_is_read_under_any_name(name: str, tmp_path: Path) -> None:
    check(read(tmp_path / name, "\n".join(ROWS)))
    check(read(tmp_path / name, join_with_commas()))
    check(read(tmp_path / f"{name}.gz", gzip.compress(join_with_commas().encode())))


def test_compressed_file_has_the_segment_name_of_the_plain_one(tmp_path: Path) -> None:
    plain = read(tmp_path / "star.csv", join_with_commas())
    packed = read(tmp_path / "star.csv.gz", gzip.compress(join_with_commas().encode()))
    assert packed.segments == plain.segments
    assert packed.segments[0].name == "star"


def test_compressed_fits_is_read(tmp_path: Path) -> None:
    path = tmp_path / "star.fits"
    mission_file(path)
    plain = read_light_curve([path], Star(), "pdcsap")
    packed = read(tmp_path / "star.fits.gz", gzip.compress(path.read_bytes()))
    assert np.array_equal(packed.time, plain.time)
    assert np.array_equal(packed.flux, plain.flux)
    assert packed.segments == plain.segments


def test_index_column_of_pandas_is_not_the_time(tmp_path: Path) -> None:
    rows = [f"{number},{row.replace(' ', ',')}" for number, row in enumerate(ROWS)]
    check(read(tmp_path / "a.csv", "\n".join([",time,flux,flux_err", *rows])))


def test_ipac_table_is_read(tmp_path: Path) -> None:
    head = [
        "\\fixlen = T",
        "\\ a comment",
        "|        time|      flux| flux_err|",
        "|      double|    double|   double|",
        "|           d|          |         |",
        "|        null|      null|     null|",
    ]
    rows = [f" {time:12.6f} {flux:10.7f} {0.001:9.5f}" for time, flux in zip(TIME, FLUX, strict=True)]
    check(read(tmp_path / "a.tbl", "\n".join([*head, *rows])))


def test_blanks_in_words_do_not_shift_ipac_columns(tmp_path: Path) -> None:
    rows = [f" two words  {time:12.6f} {flux:10.7f}" for time, flux in zip(TIME, FLUX, strict=True)]
    check(read(tmp_path / "a.tbl", "\n".join(["|name      |        time|      flux|", *rows])))


def test_value_under_a_bar_of_an_ipac_table_is_rejected(tmp_path: Path) -> None:
    text = "|  time|  flux|\n 1325.3   1.0\n 1325.333 1.0\n"
    assert "line 3 has a value under a bar" in read_error(tmp_path / "a.tbl", text.encode())


def test_gzip_members_are_concatenated(tmp_path: Path) -> None:
    text = join_with_commas().encode()
    check(read(tmp_path / "a.csv.gz", gzip.compress(text[:1000]) + gzip.compress(text[1000:]) + bytes(512)))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            gzip.compress(join_with_commas().encode())[:-12],
            "a.csv.gz: truncated: its gzip data has no end; get the file again",
        ),
        (gzip.compress(join_with_commas().encode())[:-8] + bytes(8), "a.csv.gz: damaged gzip data"),
        (gzip.compress(join_with_commas().encode()) + b"more", "a.csv.gz: other data after its gzip data"),
        (gzip.compress(b""), "a.csv.gz: the file is empty"),
        (gzip.compress(gzip.compress(join_with_commas().encode())), "a.csv.gz: "),
        (b"\x1f\x8b", "a.csv.gz: "),
    ],
    ids=["no end", "damaged", "more data", "empty", "packed twice", "only a magic number"],  # the bytes hold the time
)
def test_damaged_gzip_is_rejected(content: bytes, told: str, tmp_path: Path) -> None:
    assert told in read_error(tmp_path / "a.csv.gz", content)


def test_unpacked_size_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light_curve_file, "MAX_UNPACKED_BYTES", 100_000)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"0" * 60_000) * 2)
    with pytest.raises(BadInput, match="more than 100000 bytes when unpacked"):
        read_content(tmp_path / "a.csv.gz")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"0" * 100_000))
    assert len(read_content(tmp_path / "b.csv.gz")) == 100_000
