"""The policy for damaged frames and truncated files that every flow which reads frames follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.stage import Scalar

if TYPE_CHECKING:  # it loads decoders, which reading an option does not need
    from tasks.media.truncation import Truncation

# skip: keep the good frames, and report the others. fail: the item fails.
OnDamage = Literal["skip", "fail"]
MAX_NAMED_FRAMES = 20


def truncation_values(truncation: Truncation | None) -> dict[str, Scalar]:
    """Return the columns that report how a file is truncated."""
    return {
        "truncated": truncation is not None,
        "missing": truncation.reason if truncation else None,
        "stated_seconds": truncation.stated_seconds if truncation else None,
    }


def check_truncation(name: str, truncation: Truncation | None, on_damage: OnDamage) -> None:
    """Raise BadInput if the file called ``name`` is truncated and that is not accepted."""
    if truncation is not None and on_damage == "fail":
        raise BadInput(f"{name}: is truncated: {truncation.reason}; fetch it again, or use --on-damage skip")


def damaged_frames_error(name: str, frames: Sequence[int | str], reason: str) -> BadInput:
    """Return the error of a file called ``name`` in which these frames are damaged; ``reason`` is the first one's."""
    named = ", ".join(map(str, frames[:MAX_NAMED_FRAMES]))
    more = f" and {len(frames) - MAX_NAMED_FRAMES} more" if len(frames) > MAX_NAMED_FRAMES else ""
    plural = "frame" if len(frames) == 1 else "frames"
    advice = "fetch the file again, or use --on-damage skip"
    return BadInput(f"{name}: {plural} {named}{more} cannot be read; the first {reason}; {advice}")
