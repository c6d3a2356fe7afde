"""Remove logos, subtitles and date stamps from videos: ``python flows/overlay_removal.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("flows.overlay_removal"))

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Bytes, Execution
from tasks.launcher.batch_flow import Steps, batch_flow, pick
from tasks.media.segments.codecs import Crf
from tasks.overlays.options import (
    BoxText,
    ClassName,
    CleaningOptions,
    CommandText,
    Detector,
    Device,
    Devices,
    MaskText,
    Method,
    OutputCodec,
    Score,
    SegmentFrames,
    Segments,
    TimesText,
)

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun


@batch_flow("overlay-removal", extra="video")
def overlay_removal(
    *,
    input: Annotated[str, Field(min_length=1, title="Video, folder or URL")],
    output_dir: Annotated[Path, Field(title="Output folder")],
    method: Annotated[Method, Field(title="Method of removal")] = "auto",
    detector: Annotated[Detector, Field(title="Detection")] = "static",
    mask: Annotated[MaskText | None, Field(title="Mask (an image, or a box in px)")] = None,
    skip: Annotated[list[BoxText] | None, Field(title="Detected overlays to keep (boxes in px)")] = None,
    add: Annotated[list[MaskText] | None, Field(title="More overlays (images, or boxes in px)")] = None,
    times: Annotated[list[TimesText] | None, Field(title="Only from START-END (s)")] = None,
    codec: Annotated[OutputCodec, Field(title="Codec")] = "x264",
    crf: Annotated[Crf | None, Field(title="Quality (constant rate factor)")] = None,
    model: Annotated[Path | None, Field(title="YOLO model (ONNX file)")] = None,
    score: Annotated[Score, Field(title="Minimum score of the model (0.01 to 1)")] = 0.4,
    classes: Annotated[list[ClassName] | None, Field(title="Classes of the model")] = None,
    device: Annotated[Device, Field(title="Device of the model")] = "cpu",
    command: Annotated[CommandText | None, Field(title="Command of the method command")] = None,
    devices: Annotated[Devices | None, Field(title="Devices of the command")] = None,
    max_download: Annotated[Bytes | None, Field(title="Maximum download (such as 20GiB)")] = None,
    allow_private_hosts: Annotated[bool, Field(title="Allow local addresses")] = False,
    segments: Annotated[Segments, Field(title="Segments per video")] = "auto",
    min_segment_frames: Annotated[SegmentFrames, Field(title="Shortest segment (frames)")] = 60,
    scratch: Annotated[Bytes | None, Field(title="Disk space for segments (such as 100GiB)")] = None,
    keep_segments: Annotated[bool, Field(title="Keep segments")] = False,
    execution: Execution = Execution(),
) -> Steps:
    """Detect and remove overlays in videos, such as logos, subtitles and date stamps.

    Args:
        input: Video, folder of videos, or URL of a video
        output_dir: Folder for cleaned/, previews/, summary.json, items.parquet, failures.json and report.html
        method: How to remove overlays; auto picks the most reliable source for each pixel
        detector: How to detect overlays: edges that stay (static), a YOLO model (yolo), or --mask (mask)
        mask: Image of the video's size, white under the overlay, or a box LEFT,TOP,WIDTHxHEIGHT in pixels
        skip: Box of a detected overlay to keep in the video, LEFT,TOP,WIDTHxHEIGHT in pixels; repeatable
        add: Another overlay, an image or a box like --mask; repeatable
        times: START-END in seconds: remove overlays only in this part; repeatable (default: the whole video)
        codec: Codec of the cleaned video; lossless keeps every pixel outside overlays identical
        crf: Constant rate factor, lower is better (default: 16 for x264, 18 for x265, 20 for svtav1)
        model: YOLO model in ONNX format
        score: Minimum score of the model's boxes
        classes: Class of the model that counts as an overlay; repeatable (default: all classes)
        device: Device of the model
        command: Program of the method command and its arguments, including {input}, {masks} and {output}
        devices: Devices (such as GPUs) for the program; the maximum of segments at a time
        max_download: Maximum size of a download (default: 20GiB)
        allow_private_hosts: Allow downloads from this machine and local networks
        segments: Segments per video, or auto
        min_segment_frames: Minimum frames per segment
        scratch: Maximum disk space for segments before joining (default: half of the free space)
        keep_segments: Keep segments/ after joining
        execution: Execution options
    """
    from tasks.engine.contract.manifest import check_priority
    from tasks.overlays.request import check_codec, check_program, read_adjustments, read_detection
    from tasks.overlays.sources import ALL_NETWORKS, MAX_BYTES, FetchLimits, read_sources

    options = CleaningOptions(**pick(CleaningOptions.model_fields, {**locals(), "command": command or ""}))
    limits = FetchLimits(int(max_download or MAX_BYTES), ALL_NETWORKS if allow_private_hosts else ())
    notes: list[str] = []
    sources, problems = read_sources(input, limits, notes)
    detection, detection_problems = read_detection(detector, mask, model, score, classes or [], device)
    detection, adjustment_problems = read_adjustments(detection, skip or [], add or [], times or [])
    problems += [
        *detection_problems,
        *adjustment_problems,
        *check_codec(options),
        *check_program(method, command, devices),
    ]
    problems += check_priority(execution, ())
    if problems:
        raise InvalidInput(problems)

    def steps(run: BatchRun) -> State[Any]:
        from flows.steps.overlay_removal import remove_overlays

        run.note(notes)
        return remove_overlays(run, sources, limits, detection, options, devices, scratch, keep_segments)

    return steps
