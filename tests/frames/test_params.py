"""What may be asked for, and what is said where it may not."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.frames.params import FramesParams


@pytest.mark.parametrize("resize", ["512", 512, "640x360", "1x1", None])
def test_sizes(resize: Any) -> None:
    assert FramesParams(resize=resize).resize == (None if resize is None else str(resize))


@pytest.mark.parametrize(
    "resize", ["0", 0, -5, "640 x 360", "640x", "x360", "12.5", "big", "99999", "10x99999", True, []]
)
def test_no_sizes(resize: Any) -> None:
    with pytest.raises(ValidationError):
        FramesParams(resize=resize)


def test_the_message_says_what_may_stand_there() -> None:
    with pytest.raises(ValidationError, match="give WIDTHxHEIGHT such as 640x360, or the longest side in pixels"):
        FramesParams(resize="huge")


@pytest.mark.parametrize(
    "given",
    [{"max_frames": 0}, {"max_frames": -3}, {"quality": 0}, {"quality": 101}, {"strategy": "all"}, {"format": "jpg"}],
)
def test_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FramesParams(**given)
