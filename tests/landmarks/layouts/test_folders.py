"""Folders of pictures and of videos, with and without splits."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.landmarks.samples import Collection, read_collection, sample_items

ImageWriter = Callable[..., Path]


def read(path: Path, **options: Any) -> Collection:
    collection, problems = read_collection(path, **options)
    assert not problems
    assert collection is not None
    return collection


def refused(path: Path, **options: Any) -> str:
    collection, problems = read_collection(path, **options)
    assert collection is None
    return "\n".join(map(str, problems))


def names(collection: Collection) -> list[tuple[str, str, str]]:
    return [(sample.split, sample.name, sample.path) for sample in collection.samples]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0" * 10_000)


def test_splits_of_folders(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("train/b10/1.png", "train/b9/1.jpg", "val/c/1.webp", "test/d/1.bmp", "notes/e/1.png"):
        write_image(tmp_path / place)
    collection = read(tmp_path)
    assert collection.layout == "folders"
    assert names(collection) == [
        ("test", "d", "test/d"),
        ("train", "b9", "train/b9"),
        ("train", "b10", "train/b10"),
        ("dev", "c", "val/c"),
    ]


@pytest.mark.parametrize("called", ["dev", "val", "valid", "Validation", "DEV"])
def test_what_dev_is_called(called: str, tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / called / "a" / "1.png")
    assert names(read(tmp_path, split="dev")) == [("dev", "a", f"{called}/a")]


def test_two_folders_for_one_split(tmp_path: Path, write_image: ImageWriter) -> None:
    for called in ("val", "dev"):
        write_image(tmp_path / called / "a" / "1.png")
    assert "dev and val, both the split dev" in refused(tmp_path)


def test_folders_without_splits(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("a/1.png", "b/1.png"):
        write_image(tmp_path / place)
    assert names(read(tmp_path)) == [("all", "a", "a"), ("all", "b", "b")]


def test_a_sample_called_test(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("test/1.png", "b/1.png"):
        write_image(tmp_path / place)
    assert names(read(tmp_path)) == [("all", "b", "b"), ("all", "test", "test")]


def test_one_folder_of_pictures(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "clip" / "1.png")
    assert names(read(tmp_path / "clip")) == [("all", "clip", ".")]


def test_nested_folders_and_the_inner_one_of_phoenix(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("train/hello/1/1.png", "train/word/left/1.png", "train/word/right/1.png"):
        write_image(tmp_path / place)
    found = names(read(tmp_path))
    assert found[0] == ("train", "hello", "train/hello/1")
    assert [path for *_, path in found[1:]] == ["train/word/left", "train/word/right"]
    assert found[1][1].startswith("word-left-")


def test_what_lies_in_a_sample_belongs_to_it(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("a/1.png", "a/thumbnails/1.png"):
        write_image(tmp_path / place)
    assert names(read(tmp_path)) == [("all", "a", "a")]


def test_hidden_files_are_passed_over(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("a/1.png", ".cache/1.png", "__MACOSX/a/1.png"):
        write_image(tmp_path / place)
    (tmp_path / "a" / "._1.png").write_bytes(b"finder")
    assert [sample.cost for sample in read(tmp_path).samples] == [1.0]


def test_a_folder_without_pictures_is_a_sample_that_will_fail(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    (tmp_path / "empty").mkdir()
    assert names(read(tmp_path)) == [("all", "a", "a"), ("all", "empty", "empty")]


def test_names_that_are_no_file_names(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "Grüß Gott" / "1.png")
    (sample,) = read(tmp_path).samples
    assert sample.name.startswith("Gru-Gott-")
    assert sample.path == "Grüß Gott"
    assert sample.id == f"all.{sample.name}"


def test_videos_with_splits(tmp_path: Path) -> None:
    touch(tmp_path / "train" / "clip10.mp4", tmp_path / "train" / "clip9.mp4", tmp_path / "dev" / "x" / "a.MKV")
    collection = read(tmp_path)
    assert collection.layout == "videos"
    found = names(collection)
    assert found[0][2] == "dev/x/a.MKV"
    assert found[0][1].startswith("x-a-")
    assert found[1:] == [("train", "clip9", "train/clip9.mp4"), ("train", "clip10", "train/clip10.mp4")]
    assert {(sample.media, sample.fps, sample.cost) for sample in collection.samples} == {("video", None, 2.0)}


def test_videos_that_differ_in_their_suffix_only(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "a.mov", tmp_path / "b.mp4")
    assert [sample.name for sample in read(tmp_path).samples] == ["a.mov", "a.mp4", "b"]


def test_pictures_and_videos_in_one_folder(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    touch(tmp_path / "b.mp4")
    assert "say which with --layout folders or --layout videos" in refused(tmp_path)
    assert names(read(tmp_path, layout="videos")) == [("all", "b", "b.mp4")]
    assert names(read(tmp_path, layout="folders")) == [("all", "a", "a")]


def test_an_empty_collection(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert "neither pictures nor videos" in refused(tmp_path)


def test_videos_asked_for_and_not_there(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    assert "no samples" in refused(tmp_path, layout="videos")


def test_a_split_that_is_not_there(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "train" / "a" / "1.png")
    assert "--split: 'test'; allowed: all, train" in refused(tmp_path, split="test")


def test_a_link_that_leads_out(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "elsewhere" / "1.png")
    write_image(tmp_path / "in" / "a" / "1.png")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "a" / "2.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    message = refused(tmp_path / "in")
    assert "'b' is a link that leads out" in message
    assert "'a/2.png' is a link that leads out" in message


def test_links_that_stay_inside_and_a_ring(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "up").symlink_to("..")
    assert [name for _, name, _ in names(read(tmp_path))] == ["a", "b", "c"]


def test_two_links_that_lead_to_each_other(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "x" / "1.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "to-b").symlink_to("../b")
    (tmp_path / "b" / "to-a").symlink_to("../a")
    assert "a/x" in [path for *_, path in names(read(tmp_path))]


@pytest.mark.parametrize("name", ["a\x1b[31m", "line\nend", os.fsdecode(b"latin-\xe9")])
def test_a_name_that_cannot_be_shown_is_refused_and_the_rest_is_read(
    name: str, tmp_path: Path, write_image: ImageWriter
) -> None:
    write_image(tmp_path / name / "1.png")
    write_image(tmp_path / "good" / "1.png")
    refused, good = sorted(sample_items(read(tmp_path)), key=lambda item: not item.refusal)
    assert refused.refusal.isprintable()
    assert refused.refusal.endswith("; rename it")
    assert (good.refusal, good.inputs) == ("", (str(tmp_path / "good"),))
    for text in (refused.id, refused.name, refused.path, refused.refusal):
        text.encode()


def test_what_is_not_read_is_counted(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("train/a/1.png", "train/a/deeper/1.png", "extra/1.png", "extra/2.png"):
        write_image(tmp_path / place)
    touch(tmp_path / "train" / "clip.mp4", tmp_path / "notes.txt", tmp_path / "train" / "a" / ".hidden")
    collection = read(tmp_path, layout="folders")
    assert [sample.path for sample in collection.samples] == ["train/a"]
    assert collection.notes == (
        f"--input {tmp_path}: 1 file not read, because not images or videos: 1 .txt; 1 hidden name passed over",
        f"--input {tmp_path}: not read, because of no sample of the layout folders: 3 images in 2 folders, 1 video",
    )


def test_an_animation_beside_images_decides_nothing(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    touch(tmp_path / "a" / "preview.gif")
    collection = read(tmp_path)
    assert collection.layout == "folders"
    assert "1 video" in collection.notes[-1]


def test_outputs_of_an_earlier_run_are_no_input(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("a/1.png", "out/previews/1.png"):
        write_image(tmp_path / place)
    (tmp_path / "out" / ".headrace").mkdir()
    collection = read(tmp_path)
    assert [sample.path for sample in collection.samples] == ["a"]
    assert "1 output folder of earlier runs not read: 'out'" in collection.notes[0]


def test_pairs_of_links_do_not_multiply_folders(tmp_path: Path, write_image: ImageWriter) -> None:
    for number in range(30):
        write_image(tmp_path / str(number) / "1.png")
        for name in ("left", "right"):
            (tmp_path / str(number) / name).symlink_to(f"../{number + 1}")
    write_image(tmp_path / "30" / "1.png")
    assert len(read(tmp_path).samples) == 31


def test_folders_too_deep(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path.joinpath(*"d" * 40) / "1.png")
    assert "more than 32 folders within each other" in refused(tmp_path)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A new folder, for one whom permissions stop: root becomes nobody meanwhile."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    before = os.geteuid()
    os.seteuid(before or 65_534)
    yield folder
    os.seteuid(before)
    for path in folder.rglob("*"):
        path.chmod(0o700)
    shutil.rmtree(folder)


def test_a_folder_that_may_not_be_read(unprivileged: Path, write_image: ImageWriter) -> None:
    write_image(unprivileged / "a" / "1.png")
    (unprivileged / "b").mkdir(mode=0)
    assert [name for _, name, _ in names(read(unprivileged))] == ["a", "b"]


def test_a_split_that_may_not_be_read(unprivileged: Path, write_image: ImageWriter) -> None:
    write_image(unprivileged / "train" / "a" / "1.png")
    (unprivileged / "dev").mkdir(mode=0)
    assert "dev: cannot be listed (Permission denied)" in refused(unprivileged)
