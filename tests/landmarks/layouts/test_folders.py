"""Collections of image folders and of videos, with and without splits."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.landmarks.samples import Collection, plan_samples, read_collection

ImageWriter = Callable[..., Path]


def read(path: Path, **options: Any) -> Collection:
    collection, problems = read_collection(path, **options)
    assert not problems
    assert collection is not None
    return collection


def read_problems(path: Path, **options: Any) -> str:
    collection, problems = read_collection(path, **options)
    assert collection is None
    return "\n".join(map(str, problems))


def list_samples(collection: Collection) -> list[tuple[str, str, str]]:
    return [(sample.split, sample.name, sample.path) for sample in collection.samples]


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"0" * 10_000)


def test_folders_with_splits(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("train/b10/1.png", "train/b9/1.jpg", "val/c/1.webp", "test/d/1.bmp", "notes/e/1.png"):
        write_image(tmp_path / place)
    collection = read(tmp_path)
    assert collection.layout == "folders"
    assert list_samples(collection) == [
        ("test", "d", "test/d"),
        ("train", "b9", "train/b9"),
        ("train", "b10", "train/b10"),
        ("dev", "c", "val/c"),
    ]


@pytest.mark.parametrize("folder", ["dev", "val", "valid", "Validation", "DEV"])
def test_dev_has_several_names(folder: str, tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / folder / "a" / "1.png")
    assert list_samples(read(tmp_path, split="dev")) == [("dev", "a", f"{folder}/a")]


def test_two_folders_for_one_split_are_a_problem(tmp_path: Path, write_image: ImageWriter) -> None:
    for folder in ("val", "dev"):
        write_image(tmp_path / folder / "a" / "1.png")
    assert "dev and val, both the split dev" in read_problems(tmp_path)


def test_folders_without_splits(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("a/1.png", "b/1.png"):
        write_image(tmp_path / place)
    assert list_samples(read(tmp_path)) == [("all", "a", "a"), ("all", "b", "b")]


def test_image_folder_named_test_is_a_sample(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("test/1.png", "b/1.png"):
        write_image(tmp_path / place)
    assert list_samples(read(tmp_path)) == [("all", "b", "b"), ("all", "test", "test")]


def test_single_image_folder_is_one_sample(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "clip" / "1.png")
    assert list_samples(read(tmp_path / "clip")) == [("all", "clip", ".")]


def test_nested_folders_are_samples_named_after_their_path(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("train/hello/1/1.png", "train/word/left/1.png", "train/word/right/1.png"):
        write_image(tmp_path / place)
    samples = list_samples(read(tmp_path))
    assert samples[0] == ("train", "hello", "train/hello/1")
    assert [path for *_, path in samples[1:]] == ["train/word/left", "train/word/right"]
    assert samples[1][1].startswith("word-left-")


def test_subfolders_of_an_image_folder_belong_to_its_sample(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("a/1.png", "a/thumbnails/1.png"):
        write_image(tmp_path / place)
    assert list_samples(read(tmp_path)) == [("all", "a", "a")]


def test_hidden_files_are_skipped(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("a/1.png", ".cache/1.png", "__MACOSX/a/1.png"):
        write_image(tmp_path / place)
    (tmp_path / "a" / "._1.png").write_bytes(b"finder")
    assert [sample.cost for sample in read(tmp_path).samples] == [1.0]


def test_empty_folder_is_a_sample(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    (tmp_path / "empty").mkdir()
    assert list_samples(read(tmp_path)) == [("all", "a", "a"), ("all", "empty", "empty")]


def test_unsafe_names_get_safe_file_names(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "Grüß Gott" / "1.png")
    (sample,) = read(tmp_path).samples
    assert sample.name.startswith("Gru-Gott-")
    assert sample.path == "Grüß Gott"
    assert sample.id == f"all.{sample.name}"


def test_videos_with_splits(tmp_path: Path) -> None:
    touch(tmp_path / "train" / "clip10.mp4", tmp_path / "train" / "clip9.mp4", tmp_path / "dev" / "x" / "a.MKV")
    collection = read(tmp_path)
    assert collection.layout == "videos"
    samples = list_samples(collection)
    assert samples[0][2] == "dev/x/a.MKV"
    assert samples[0][1].startswith("x-a-")
    assert samples[1:] == [("train", "clip9", "train/clip9.mp4"), ("train", "clip10", "train/clip10.mp4")]
    assert {(sample.media, sample.fps, sample.cost) for sample in collection.samples} == {("video", None, 2.0)}


def test_videos_that_differ_only_in_suffix_keep_it_in_their_names(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "a.mov", tmp_path / "b.mp4")
    assert [sample.name for sample in read(tmp_path).samples] == ["a.mov", "a.mp4", "b"]


def test_images_and_videos_in_one_folder_need_a_layout(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    touch(tmp_path / "b.mp4")
    assert "choose with --layout folders or --layout videos" in read_problems(tmp_path)
    assert list_samples(read(tmp_path, layout="videos")) == [("all", "b", "b.mp4")]
    assert list_samples(read(tmp_path, layout="folders")) == [("all", "a", "a")]


def test_empty_collection_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert "neither images nor videos" in read_problems(tmp_path)


def test_layout_videos_without_videos_is_a_problem(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    assert "no samples" in read_problems(tmp_path, layout="videos")


def test_missing_split_is_a_problem(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "train" / "a" / "1.png")
    assert "--split: 'test'; allowed: all, train" in read_problems(tmp_path, split="test")


def test_symlink_that_points_outside_is_a_problem(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "elsewhere" / "1.png")
    write_image(tmp_path / "in" / "a" / "1.png")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "a" / "2.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    message = read_problems(tmp_path / "in")
    assert "'b' is a symlink that points outside" in message
    assert "'a/2.png' is a symlink that points outside" in message


def test_symlinks_inside_and_a_cycle_are_followed_once(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "up").symlink_to("..")
    assert [name for _, name, _ in list_samples(read(tmp_path))] == ["a", "b", "c"]


def test_mutual_symlinks_do_not_loop(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "x" / "1.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "to-b").symlink_to("../b")
    (tmp_path / "b" / "to-a").symlink_to("../a")
    assert "a/x" in [path for *_, path in list_samples(read(tmp_path))]


@pytest.mark.parametrize("name", ["a\x1b[31m", "line\nend", os.fsdecode(b"latin-\xe9")])
def test_unprintable_name_is_refused_and_the_others_are_read(
    name: str, tmp_path: Path, write_image: ImageWriter
) -> None:
    write_image(tmp_path / name / "1.png")
    write_image(tmp_path / "good" / "1.png")
    rejected, good = sorted(plan_samples(read(tmp_path)), key=lambda item: not item.refusal)
    assert rejected.refusal.isprintable()
    assert rejected.refusal.endswith("; rename it")
    assert (good.refusal, good.inputs) == ("", (str(tmp_path / "good"),))
    for text in (rejected.id, rejected.name, rejected.path, rejected.refusal):
        text.encode()


def test_unused_files_are_counted(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("train/a/1.png", "train/a/deeper/1.png", "extra/1.png", "extra/2.png"):
        write_image(tmp_path / place)
    touch(tmp_path / "train" / "clip.mp4", tmp_path / "notes.txt", tmp_path / "train" / "a" / ".hidden")
    collection = read(tmp_path, layout="folders")
    assert [sample.path for sample in collection.samples] == ["train/a"]
    assert collection.notes == (
        f"--input {tmp_path}: 1 file not read, because not images or videos: 1 .txt; 1 hidden name skipped",
        f"--input {tmp_path}: not part of any sample of the layout folders: 3 images in 2 folders, 1 video",
    )


def test_gif_next_to_images_does_not_make_the_layout_ambiguous(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path / "a" / "1.png")
    touch(tmp_path / "a" / "preview.gif")
    collection = read(tmp_path)
    assert collection.layout == "folders"
    assert "1 video" in collection.notes[-1]


def test_output_folders_of_earlier_runs_are_skipped(tmp_path: Path, write_image: ImageWriter) -> None:
    for place in ("a/1.png", "out/previews/1.png"):
        write_image(tmp_path / place)
    (tmp_path / "out" / ".headrace").mkdir()
    collection = read(tmp_path)
    assert [sample.path for sample in collection.samples] == ["a"]
    assert "1 output folder of earlier runs not read: 'out'" in collection.notes[0]


def test_pairs_of_symlinks_do_not_multiply_folders(tmp_path: Path, write_image: ImageWriter) -> None:
    for number in range(30):
        write_image(tmp_path / str(number) / "1.png")
        for name in ("left", "right"):
            (tmp_path / str(number) / name).symlink_to(f"../{number + 1}")
    write_image(tmp_path / "30" / "1.png")
    assert len(read(tmp_path).samples) == 31


def test_folders_nested_too_deeply_are_a_problem(tmp_path: Path, write_image: ImageWriter) -> None:
    write_image(tmp_path.joinpath(*"d" * 40) / "1.png")
    assert "more than 32 nested folders" in read_problems(tmp_path)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Create a folder as a user without privileges: root becomes nobody meanwhile."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    before = os.geteuid()
    os.seteuid(before or 65_534)
    yield folder
    os.seteuid(before)
    for path in folder.rglob("*"):
        path.chmod(0o700)
    shutil.rmtree(folder)


def test_unreadable_folder_is_a_sample(unprivileged: Path, write_image: ImageWriter) -> None:
    write_image(unprivileged / "a" / "1.png")
    (unprivileged / "b").mkdir(mode=0)
    assert [name for _, name, _ in list_samples(read(unprivileged))] == ["a", "b"]


def test_unreadable_split_is_a_problem(unprivileged: Path, write_image: ImageWriter) -> None:
    write_image(unprivileged / "train" / "a" / "1.png")
    (unprivileged / "dev").mkdir(mode=0)
    assert "dev: cannot be listed (Permission denied)" in read_problems(unprivileged)
