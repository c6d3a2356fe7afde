"""What stands between two runs of FFmpeg: where a chain is split, and how RGB becomes what the other steps expect."""

from __future__ import annotations

from collections.abc import Sequence

from av.video.format import VideoFormat

from tasks.media.segments.picture import UNSPECIFIED, PictureFormat
from tasks.restoration.chain import Chain, Step
from tasks.restoration.engines.base import SegmentJob
from tasks.restoration.engines.exchange import RGB_MATRIX, is_rgb

_SCALERS = frozenset({"scale", "zscale"})
_SIZES = frozenset({"w", "width", "h", "height", "s", "size"})
# Between RGB and YUV, swscale's quick ways are off by a code or more.
EXACT = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"


def split_at_scaling(steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps before the first one that changes the size, and the others."""
    places = [place for place, step in enumerate(steps) if step.filter in _SCALERS and _SIZES & step.options.keys()]
    place = places[0] if places else len(steps)
    return tuple(steps[:place]), tuple(steps[place:])


def between_matrix(job: SegmentJob) -> str:
    """The colour matrix of the frames where the program comes, by its name or its number.

    The scaling that follows may insist on one, whatever the tape says of itself; BT.601 where nobody says.
    """
    _, after = split_at_scaling(job.chain.steps)
    said = after[0].options.get("in_color_matrix", "auto") if after else "auto"
    if said != "auto":
        return "bt470bg" if said == "bt601" else said  # not all filters have a name for both of its kinds
    matrix = job.found.picture.matrix
    return "bt470bg" if matrix in {UNSPECIFIED, RGB_MATRIX} else str(matrix)


def taken_matrix(job: SegmentJob) -> Step:
    """What says of the frames that the matrix is the one the chain takes them for, whatever the tape says."""
    return Step("setparams", {"colorspace": between_matrix(job)}, "as the chain takes them")


def is_deep(chain: Chain) -> bool:
    """Whether it writes more than 8 bits a sample."""
    return any(component.bits > 8 for component in VideoFormat(chain.pixel_format).components)


def from_rgb(made: PictureFormat, job: SegmentJob) -> tuple[Step, ...]:
    """What makes YUV of RGB as it was before, with the colours at full size: scaling comes after it."""
    if not is_rgb(made):
        return ()
    options = {"out_color_matrix": between_matrix(job), "out_range": "limited", "flags": EXACT}
    planes = {"pix_fmts": "yuv444p10" if is_deep(job.chain) else "yuv444p"}
    return Step("scale", options, "what comes was made as RGB"), Step("format", planes, "and its colours at full size")


def fitting(chain: Chain) -> Step:
    """What makes the written size of any other, and leaves that alone."""
    size = {"width": str(chain.width_px), "height": str(chain.height_px), "flags": "lanczos+accurate_rnd"}
    return Step("scale", size, "what comes has the size that its maker likes")
