"""Options reach the filter as they are, whatever signs are in them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from tasks.restoration.engines.graph import build_graph, join_graphs

from ..conftest import step  # noqa: TID252

HARD = [
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


@pytest.mark.parametrize("value", HARD)
def test_special_characters_reach_the_filter(value: str, tmp_path: Path) -> None:
    """metadata=print writes what it was told to add."""
    path = tmp_path / "it's, here: [x].txt"
    steps = step("metadata", mode="add", key="k", value=value), step("metadata", mode="print", file=str(path))
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-f", "lavfi", "-i", "color=s=16x16:d=0.04"]
    subprocess.run([*program, "-vf", join_graphs("null", build_graph(steps), "null"), "-f", "null", "-"], check=True)
    assert path.read_text().splitlines()[1] == f"k={value}"


def test_steps_keep_their_order_and_may_repeat() -> None:
    text = build_graph((step("hqdn3d", luma_spatial="2"), step("hqdn3d", luma_spatial="2"), step("vflip")))
    assert text == "hqdn3d=luma_spatial=2[s0];[s0]hqdn3d=luma_spatial=2[s1];[s1]vflip"


def test_graph_without_steps_is_empty() -> None:
    assert build_graph(()) == ""
    assert join_graphs("", "a", "", "b") == "a,b"


def test_leading_and_trailing_white_space_is_refused() -> None:
    with pytest.raises(ValueError, match=r"option text of filter drawtext begins or ends with white space: ' a'"):
        build_graph((step("drawtext", text=" a"),))
