"""Test that filter options with special characters are escaped correctly."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from tasks.restoration.engines.graph import build_graph, join_graphs

from ..conftest import make_step  # noqa: TID252

SPECIAL_VALUES = [
    "a,b",
    "a:b",
    "a'b",
    'a"b',
    "a=b",
    "a\\b",
    "a[b]",
    "a;b",
    "%{n}",
    "a, b: 'c\\'[d];e",
    "ä ö",
    "\\,\\:\\'",
    "a  b",
]


@pytest.mark.parametrize("value", SPECIAL_VALUES)
def test_special_characters_reach_the_filter(value: str, tmp_path: Path) -> None:
    """Add a value as metadata and print it."""
    path = tmp_path / "it's, here: [x].txt"
    steps = make_step("metadata", mode="add", key="k", value=value), make_step("metadata", mode="print", file=str(path))
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-f", "lavfi", "-i", "color=s=16x16:d=0.04"]
    subprocess.run([*program, "-vf", join_graphs("null", build_graph(steps), "null"), "-f", "null", "-"], check=True)
    assert path.read_text().splitlines()[1] == f"k={value}"


def test_steps_keep_their_order_and_may_repeat() -> None:
    text = build_graph(
        (make_step("hqdn3d", luma_spatial="2"), make_step("hqdn3d", luma_spatial="2"), make_step("vflip"))
    )
    assert text == "hqdn3d=luma_spatial=2[s0];[s0]hqdn3d=luma_spatial=2[s1];[s1]vflip"


def test_graph_without_steps_is_empty() -> None:
    assert build_graph(()) == ""
    assert join_graphs("", "a", "", "b") == "a,b"


def test_leading_and_trailing_white_space_is_refused() -> None:
    with pytest.raises(ValueError, match=r"option text of filter drawtext begins or ends with white space: ' a'"):
        build_graph((make_step("drawtext", text=" a"),))
