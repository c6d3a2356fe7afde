"""The flow's options: all mistakes in one answer, one line each, and the inputs of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.dataset_prep import dataset_prep
from tasks.engine.contract.errors import InvalidInput
from tasks.launcher.flow_command import read_command


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Create the layout of the original question sets."""
    (tmp_path / "train" / "videos").mkdir(parents=True)
    (tmp_path / "train" / "videos" / "x.mp4").write_bytes(b"x")
    rows = [{"id": "a", "video_path": "train/videos/x.mp4", "support_frames": [1.0]}]
    (tmp_path / "train" / "train.json").write_text(json.dumps({"data": rows}))
    return tmp_path / "train" / "train.json"


def read(manifest: Path, *options: str) -> list[str]:
    """Return the lines about everything that is wrong with a command."""
    common = ["--manifest", str(manifest), "--videos-dir", str(manifest.parent / "videos"), "--output-dir", "out"]
    try:
        read_command(dataset_prep, [*common, *options])
    except InvalidInput as error:
        return [str(problem) for problem in error.problems]
    return []


def test_original_layout_needs_no_other_options(manifest: Path) -> None:
    assert read(manifest) == []
    assert read(manifest, "--labels", "folder", "--fps", "2", "--random", "3") != []


def test_contradictions_are_reported_together(manifest: Path) -> None:
    options = ["--fps", "2", "--all", "--seed", "1", "--depth", "16", "--no-embed-images", "--format", "webdataset"]
    lines = read(manifest, *options, "--start", "3", "--end", "2", "--group-by", "content")
    words = [
        "--fps, --all: given together",
        "--seed: given without --random",
        "--depth 16: given with jpg",
        "--no-embed-images: given with webdataset",
        "--end: 2, with --start 3",
        "--group-by content: given without shares",
    ]
    assert len(lines) == len(words), lines
    for word in words:
        assert len([line for line in lines if line.startswith(word)]) == 1, (word, lines)


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        (["--every", "1.5"], "a number of frames, such as 10, or seconds with s, such as 2s or 0.5s"),
        (["--fps", "0"], "a number greater than 0"),
        (["--crop", "10x10"], "WIDTHxHEIGHT+LEFT+TOP in pixels, such as 640x480+0+16"),
        (["--pad", "square"], "WIDTH:HEIGHT, such as 1:1 or 16:9"),
        (["--license", "my own"], "an identifier of letters, digits, '.', '+' and '-', such as cc-by-4.0"),
        (["--shard-bytes", "banana"], "a size with a unit, such as 2GiB or 500MB"),
        (["--shots", "0"], "a number greater than or equal to 1"),
        (["--depth", "12"], "8, 16"),
    ],
)
def test_value_of_another_form_is_one_line(manifest: Path, options: list[str], allowed: str) -> None:
    (line,) = read(manifest, *options)
    assert line.startswith(options[0])
    assert allowed in line


def test_parameters_from_a_form_are_checked_too(manifest: Path) -> None:
    parameters: dict[str, Any] = {"manifest": manifest, "videos_dir": manifest.parent / "videos", "output_dir": Path()}
    dataset_prep.read_inputs({**bind_defaults(), **parameters})
    with pytest.raises(InvalidInput, match="--strategy rule: without a rule"):
        dataset_prep.read_inputs({**bind_defaults(), **parameters, "strategy": "rule"})


def bind_defaults() -> dict[str, Any]:
    return {name: value.default for name, value in dataset_prep.signature.parameters.items() if name != "output_dir"}
