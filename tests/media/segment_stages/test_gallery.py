"""The gallery of the report: which contact sheets it shows, and that it follows no path out of the output folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.media.segment_stages.gallery import Entry, read_gallery

JPEG = b"\xff\xd8\xff and more"


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "output" / "previews"
    folder.mkdir(parents=True)
    for number in range(5):
        (folder / f"{number}.jpg").write_bytes(JPEG)
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    return tmp_path / "output"


def titles(ids: list[str], output: Path, max_entries: int = 12) -> list[str]:
    return [picture.title for picture in read_gallery([Entry(name, name, "") for name in ids], output, max_entries)]


def test_gallery_shows_evenly_spread_videos(output: Path) -> None:
    assert titles(["0", "1", "2", "3", "4"], output, 3) == ["0", "2", "4"]


def test_gallery_leaves_out_videos_without_a_sheet(output: Path) -> None:
    (output / "previews" / "3.jpg").write_bytes(b"not a JPEG")
    assert titles(["1", "missing", "3", "4"], output) == ["1", "4"]


def test_gallery_follows_no_id_out_of_the_output_folder(output: Path) -> None:
    assert (output / "previews" / "../../secret.jpg").is_file()
    assert titles(["../../secret", str(output.parent / "secret"), "1"], output) == ["1"]


def test_gallery_follows_no_symlink_out_of_the_output_folder(output: Path) -> None:
    (output / "previews" / "linked.jpg").symlink_to(output.parent / "secret.jpg")
    assert titles(["linked", "1"], output) == ["1"]
    (output / "previews").rename(output.parent / "previews")
    (output / "previews").symlink_to(output.parent / "previews")
    assert titles(["1"], output) == []
