"""Splitting a chain between two FFmpeg processes, and the conversions around the split."""

from __future__ import annotations

from collections.abc import Sequence

from av.video.format import VideoFormat

from tasks.media.segments.picture import UNSPECIFIED, PictureFormat
from tasks.restoration.chain import Chain, Step
from tasks.restoration.engines.base import SegmentJob
from tasks.restoration.engines.exchange import RGB_MATRIX, is_rgb

_SCALERS = frozenset({"scale", "zscale"})
_SIZES = frozenset({"w", "width", "h", "height", "s", "size"})
# Between RGB and YUV, swscale's fast paths are off by a code or more.
EXACT = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"


def split_at_scaling(steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """Return the steps before the first one that changes the frame size, and the rest."""
    places = [place for place, step in enumerate(steps) if step.filter in _SCALERS and _SIZES & step.options.keys()]
    place = places[0] if places else len(steps)
    return tuple(steps[:place]), tuple(steps[place:])


def choose_matrix(job: SegmentJob) -> str:
    """Return the color matrix of the frames at the split, as a name or a number.

    It is the input matrix of the scaling step if that sets one, else that of the tape, else BT.601.
    """
    _, after = split_at_scaling(job.chain.steps)
    matrix_name = after[0].options.get("in_color_matrix", "auto") if after else "auto"
    if matrix_name != "auto":
        return "bt470bg" if matrix_name == "bt601" else matrix_name  # not all filters know the name bt601
    matrix = job.survey.picture.matrix
    return "bt470bg" if matrix in {UNSPECIFIED, RGB_MATRIX} else str(matrix)


def tag_matrix(job: SegmentJob) -> Step:
    """Return the step that tags frames with the color matrix that the chain assumes."""
    return Step("setparams", {"colorspace": choose_matrix(job)}, "as the chain takes them")


def is_deep(chain: Chain) -> bool:
    """Return True if the chain writes more than 8 bits per sample."""
    return any(component.bits > 8 for component in VideoFormat(chain.pixel_format).components)


def convert_from_rgb(picture: PictureFormat, job: SegmentJob) -> tuple[Step, ...]:
    """Return the steps that convert RGB to YUV without chroma subsampling; scaling follows."""
    if not is_rgb(picture):
        return ()
    options = {"out_color_matrix": choose_matrix(job), "out_range": "limited", "flags": EXACT}
    planes = {"pix_fmts": "yuv444p10" if is_deep(job.chain) else "yuv444p"}
    return Step("scale", options, "what comes was made as RGB"), Step("format", planes, "and its colours at full size")


def fit_size(chain: Chain) -> Step:
    """Return the step that scales to the written size, if necessary."""
    size = {"width": str(chain.width_px), "height": str(chain.height_px), "flags": "lanczos+accurate_rnd"}
    return Step("scale", size, "what comes has the size that its maker likes")
