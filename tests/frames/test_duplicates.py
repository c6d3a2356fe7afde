"""Near-duplicates: perceptual hashes of real frames, groups, and their report."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from tasks.engine.contract.stage import Workspace
from tasks.frames import duplicates
from tasks.frames.duplicates import DuplicateGroup, choose_representatives, find_duplicates
from tasks.frames.duplicates_report import describe_leaks, plan_report, write_report
from tasks.frames.hashing import compute_phash

VIDEO = Path(__file__).resolve().parents[1] / "data" / "video"
CLIPS = ["nasa_13013.mp4", "mpy_chaplin.mp4", "dash_solidWhiteRight.mp4", "mpy_fire2.mp4", "kivy_cityCC0.mpg"]


def read_images(name: str, count: int = 4) -> list[Any]:
    with av.open(str(VIDEO / name)) as container:
        images = [frame.to_ndarray(format="bgr24") for frame in container.decode(container.streams.best("video"))]
    return images[:: max(1, len(images) // count)][:count]


@pytest.fixture(scope="module")
def images() -> dict[str, list[Any]]:
    return {name: read_images(name) for name in CLIPS}


def encode(image: Any, quality: int) -> Any:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def count_bits(left: str, right: str) -> int:
    return (int(left, 16) ^ int(right, 16)).bit_count()


def test_hash_survives_other_sizes_and_encodings(images: dict[str, list[Any]]) -> None:
    for image in (image for frames in images.values() for image in frames):
        height, width = image.shape[:2]
        small = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_LINEAR)
        original = compute_phash(image)
        assert original is not None
        for other in (encode(image, 40), small, encode(small, 60)):
            changed = compute_phash(other)
            assert changed is not None
            assert count_bits(original, changed) <= duplicates.MAX_BITS - 2


def test_hashes_of_different_clips_differ_in_many_bits(images: dict[str, list[Any]]) -> None:
    hashes = {name: [compute_phash(image) for image in frames] for name, frames in images.items()}
    for name in CLIPS:
        others = [text for other in CLIPS if other != name for text in hashes[other]]
        distances = [count_bits(left or "", right or "") for left in hashes[name] for right in others]
        assert min(distances) > duplicates.MAX_BITS


@pytest.mark.parametrize("level", [0, 128, 255])
def test_image_without_texture_has_no_hash(level: int) -> None:
    noise = np.random.default_rng(level).integers(-2, 3, (90, 160, 3))
    assert compute_phash(np.clip(level + noise, 0, 255).astype(np.uint8)) is None


def describe(video: str, hashes: list[int | None], digests: list[str] | None = None) -> dict[str, Any]:
    frames = [
        {"phash": None if value is None else f"{value:016x}", "sha256": digests[n] if digests else f"{video} {n}"}
        for n, value in enumerate(hashes)
    ]
    return {"id": video, "video": video, "frames": frames}


def flip(value: int, bits: int, rng: random.Random) -> int:
    for bit in rng.sample(range(64), bits):
        value ^= 1 << bit
    return value


@pytest.mark.parametrize("seed", range(20))
def test_close_pairs_are_those_of_a_full_comparison(seed: int) -> None:
    rng = random.Random(seed)
    base = [rng.getrandbits(64) for _ in range(30)]
    values = [flip(rng.choice(base), rng.randrange(10), rng) for _ in range(150)]
    index = duplicates._HashIndex(np.array(values, dtype=np.uint64))
    expected = [
        (left, right)
        for left in range(150)
        for right in range(150)
        if (values[left] ^ values[right]).bit_count() <= duplicates.MAX_BITS
    ]
    left, right = index.find_close(np.arange(150))
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == expected


def test_blocks_do_not_change_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    scenes = [[rng.getrandbits(64) for _ in range(5)] for _ in range(6)]
    videos = [describe(f"{n:02d}", [flip(value, 2, rng) for value in scenes[n % 6]]) for n in range(30)]
    groups = find_duplicates(videos)
    assert [len(group.videos) for group in groups] == [5] * 6
    monkeypatch.setattr(duplicates, "_MAX_CANDIDATES", 20)
    for cost in (0, 10**9):  # by the index, by a full comparison
        monkeypatch.setattr(duplicates, "_CANDIDATE_COST", cost)
        assert find_duplicates([*videos, describe("black", [None] * 5)]) == groups


def test_copies_and_parts_are_near_duplicates_and_common_frames_are_not() -> None:
    rng = random.Random(1)
    scene = [rng.getrandbits(64) for _ in range(8)]
    encoded = [flip(value, 4, rng) for value in scene]
    part = [flip(value, 2, rng) for value in scene[3:7]]
    with_intro = [*scene[:2], *(rng.getrandbits(64) for _ in range(6))]
    other = [rng.getrandbits(64) for _ in range(8)]
    samples = [describe(name, hashes) for name, hashes in
               [("a", scene), ("b", encoded), ("c", part), ("d", with_intro), ("e", other)]]  # fmt: skip
    assert find_duplicates(samples) == [DuplicateGroup(("a", "b", "c"), is_identical=False)]


def test_identical_files_are_one_group_even_without_texture() -> None:
    black = [describe(f"{number}", [None, None], ["x", "y"]) for number in range(300)]
    dark = [describe(f"dark {number}", [None, None]) for number in range(3)]
    (group,) = find_duplicates([*black, *dark])
    assert (len(group.videos), group.is_identical) == (300, True)


def test_two_hashes_are_too_few_to_compare() -> None:
    assert find_duplicates([describe("a", [1, 2]), describe("b", [1, 2])]) == []
    assert find_duplicates([]) == []


def test_representative_is_a_member_and_does_not_depend_on_the_order() -> None:
    group = DuplicateGroup(("a", "b", "c"), is_identical=True)
    chosen = choose_representatives([group])
    assert len(set(chosen.values())) == 1
    assert set(chosen) == {"a", "b", "c"}
    assert chosen["a"] in chosen


def test_report_shows_images_and_names_splits(tmp_path: Path) -> None:
    samples = []
    for name in ("a<b", "c"):
        path = f"frames/{name[0]}/0000.jpg"
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_bytes(cv2.imencode(".jpg", np.full((60, 80, 3), 90, np.uint8))[1].tobytes())
        samples.append({"id": name, "video": name, "frames": [{"path": path, "actual_seconds": 1.0}]})
    group = DuplicateGroup(("a<b", "c"), is_identical=False)
    (item,) = plan_report([group], samples, {"a<b": "train", "c": "val"})
    write_report(item.payload, Workspace(tmp_path / "out", tmp_path / "scratch", tmp_path))
    folder = tmp_path / "out" / "duplicates"
    lines = [json.loads(line) for line in (folder / "groups.jsonl").read_text().splitlines()]
    videos = [{"video": "a<b", "splits": ["train"]}, {"video": "c", "splits": ["val"]}]
    assert lines == [{"is_identical": False, "videos": videos}]
    page = (folder / "index.html").read_text()
    assert "a&lt;b (train)" in page
    assert '<img src="0001.jpg"' in page
    sheet = cv2.imread(str(folder / "0001.jpg"))
    assert sheet is not None
    assert plan_report([], samples, {}) == []


def test_note_counts_groups_in_several_splits() -> None:
    group = DuplicateGroup(("a", "b"), is_identical=True)
    assert describe_leaks([], {}) == []
    (line,) = describe_leaks([group], {"a": {"train"}, "b": {"val"}})
    assert line.startswith("2 videos have near-duplicates (1 group); 1 group in several splits: --group-by content")
    (line,) = describe_leaks([group], {"a": {"val"}, "b": {"val"}})
    assert "none of them in several splits" in line
