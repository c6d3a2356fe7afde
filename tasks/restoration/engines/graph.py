"""The filter graph of a chain in FFmpeg's syntax."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import ffmpeg

from tasks.media.segments.picture import PictureFormat
from tasks.restoration.chain import Step


def build_graph(steps: Sequence[Step]) -> str:
    """Return the graph of ``steps`` in sequence, for ``-vf``; empty without steps.

    Values are escaped, so they may contain any character. Raises ValueError for a value with leading or trailing
    white space, which FFmpeg would drop.
    """
    if not steps:
        return ""
    stream = ffmpeg.input("-")
    for step in steps:
        _check_spaces(step)
        stream = stream.filter(step.filter, **step.options)
    arguments = ffmpeg.get_args(stream.output("-"))
    graph = next(value for option, value in pairwise(arguments) if option == "-filter_complex")
    # -vf needs no labels for the input and the output.
    return str(graph)[len("[0]") : graph.rindex("[")]


def join_graphs(*graphs: str) -> str:
    """Return several graphs in sequence as one; empty ones are left out."""
    return ",".join(filter(None, graphs))


def tag_format(picture: PictureFormat) -> str:
    """Return the filters that tag frames with the properties that no pixel depends on.

    Matrix and range are not tagged: they are options of the encoder, and FFmpeg converts frames that differ.
    """
    mode = {"progressive": "prog", "": "auto"}.get(picture.field_order, picture.field_order)
    color = f"color_primaries={picture.primaries}:color_trc={picture.transfer}"
    return f"setparams=field_mode={mode}:{color},setsar=sar={picture.sample_aspect}:max=65535"


def _check_spaces(step: Step) -> None:
    for name, value in step.options.items():
        if value != value.strip():
            raise ValueError(f"option {name} of filter {step.filter} begins or ends with white space: {value!r}")
