"""Validation of FramesParams, and its messages."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.frames.params import FramesParams


@pytest.mark.parametrize("resize", ["512", 512, "640x360", "1x1", None])
def test_valid_resize_is_accepted(resize: Any) -> None:
    assert FramesParams(resize=resize).resize == (None if resize is None else str(resize))


@pytest.mark.parametrize(
    "resize", ["0", 0, -5, "640 x 360", "640x", "x360", "12.5", "big", "99999", "10x99999", True, []]
)
def test_invalid_resize_is_rejected(resize: Any) -> None:
    with pytest.raises(ValidationError):
        FramesParams(resize=resize)


def test_resize_message_states_the_allowed_forms() -> None:
    with pytest.raises(ValidationError, match="use WIDTHxHEIGHT, such as 640x360, or the longest side in pixels"):
        FramesParams(resize="huge")


@pytest.mark.parametrize(
    "given",
    [{"max_frames": 0}, {"max_frames": -3}, {"quality": 0}, {"quality": 101}, {"strategy": "all"}, {"format": "jpg"}],
)
def test_invalid_params_are_rejected(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FramesParams(**given)
