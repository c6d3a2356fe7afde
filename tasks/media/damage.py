"""The policy for damaged frames and truncated files, shared by all flows that read frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.stage import Scalar

if TYPE_CHECKING:  # this module loads decoders, which parsing an option does not need
    from tasks.media.truncation import Truncation

# skip: keep the intact frames, and report the others. fail: the item fails.
OnDamage = Literal["skip", "fail"]
MAX_NAMED_FRAMES = 20


def get_truncation_values(truncation: Truncation | None) -> dict[str, Scalar]:
    """Return the values of the columns that report a truncation."""
    return {
        "truncated": truncation is not None,
        "missing": truncation.reason if truncation else None,
        "stated_seconds": truncation.stated_seconds if truncation else None,
    }


def check_truncation(name: str, truncation: Truncation | None, on_damage: OnDamage) -> None:
    """Raise BadInput if the file ``name`` is truncated and ``on_damage`` is "fail"."""
    if truncation is not None and on_damage == "fail":
        raise BadInput(f"{name}: is truncated: {truncation.reason}; fetch it again, or use --on-damage skip")


def make_damage_error(name: str, frames: Sequence[int | str], reason: str) -> BadInput:
    """Return the error for a file ``name`` with these damaged frames; ``reason`` is that of the first one."""
    named = ", ".join(map(str, frames[:MAX_NAMED_FRAMES]))
    more = f" and {len(frames) - MAX_NAMED_FRAMES} more" if len(frames) > MAX_NAMED_FRAMES else ""
    plural = "frame" if len(frames) == 1 else "frames"
    advice = "fetch the file again, or use --on-damage skip"
    return BadInput(f"{name}: {plural} {named}{more} cannot be read; the first {reason}; {advice}")
