"""A chain as FFmpeg takes it: the text of a filter graph."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import ffmpeg

from tasks.media.segments.picture import PictureFormat
from tasks.restoration.chain import Step


def graph_text(steps: Sequence[Step]) -> str:
    """The graph of ``steps``, one after another, for ``-vf``; empty without a step.

    Values may hold whatever FFmpeg's syntax uses itself: they are escaped. Raises ValueError for a value that begins
    or ends with white space, which FFmpeg would drop.
    """
    if not steps:
        return ""
    stream = ffmpeg.input("-")
    for step in steps:
        _check_spaces(step)
        stream = stream.filter(step.filter, **step.options)
    words = ffmpeg.get_args(stream.output("-"))
    graph = next(value for option, value in pairwise(words) if option == "-filter_complex")
    # It names what comes in and what goes out; -vf knows that.
    return str(graph)[len("[0]") : graph.rindex("[")]


def joined(*graphs: str) -> str:
    """One graph of several, each behind the one before; empty ones are left out."""
    return ",".join(filter(None, graphs))


def naming_filters(picture: PictureFormat) -> str:
    """The filters that make frames say what is known of them, and what no pixel depends on.

    Matrix and range are not among them: FFmpeg is asked for those of ``picture``, and converts frames of others.
    """
    mode = {"progressive": "prog", "": "auto"}.get(picture.field_order, picture.field_order)
    color = f"color_primaries={picture.primaries}:color_trc={picture.transfer}"
    return f"setparams=field_mode={mode}:{color},setsar=sar={picture.sample_aspect}:max=65535"


def _check_spaces(step: Step) -> None:
    for name, value in step.options.items():
        if value != value.strip():
            raise ValueError(f"option {name} of filter {step.filter} begins or ends with white space: {value!r}")
