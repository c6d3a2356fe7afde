"""Remove logos, subtitles and date stamps from videos: ``python flows/overlay_removal.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("flows.overlay_removal"))

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ByteSize

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.launcher.batch_flow import Steps, batch_flow, pick
from tasks.media.segments.codecs import Crf
from tasks.overlays.options import (
    CleaningOptions,
    Detector,
    Device,
    Devices,
    Method,
    OutputCodec,
    Score,
    Segments,
)

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun


@batch_flow("overlay-removal", extra="video")
def overlay_removal(
    input: str,
    output_dir: Path,
    detector: Detector = "static",
    mask: str | None = None,
    model: Path | None = None,
    score: Score = 0.4,
    classes: list[str] | None = None,
    method: Method = "auto",
    command: str | None = None,
    devices: Devices | None = None,
    segments: Segments = "auto",
    min_segment_frames: int = 60,
    codec: OutputCodec = "x264",
    crf: Crf | None = None,
    max_download: ByteSize | None = None,
    allow_private_hosts: bool = False,
    device: Device = "cpu",
    scratch: ByteSize | None = None,
    keep_segments: bool = False,
    execution: Execution = Execution(),
) -> Steps:
    """Detect and remove overlays in videos, such as logos, subtitles and date stamps.

    Args:
        input: Video, folder of videos, or URL of a video
        output_dir: Folder for cleaned/, previews/, summary.json, items.parquet, failures.json and report.html
        detector: How to detect overlays: edges that stay (static), a YOLO model (yolo), or --mask (mask)
        mask: Image of the video's size, white under the overlay, or a box LEFT,TOP,WIDTHxHEIGHT in pixels
        model: YOLO model in ONNX format
        score: Minimum score of the model's boxes
        classes: Class of the model that counts as an overlay; repeatable (default: all classes)
        method: How to remove overlays; auto picks the most reliable source for each pixel
        command: Program of the method command and its arguments, including {input}, {masks} and {output}
        devices: Devices (such as GPUs) for the program; the maximum of segments at a time
        segments: Segments per video, or auto
        min_segment_frames: Minimum frames per segment
        codec: Codec of the cleaned video; lossless keeps every pixel outside overlays identical
        crf: Constant rate factor, lower is better (default: 16 for x264, 18 for x265, 20 for svtav1)
        max_download: Maximum size of a download (default: 20GiB)
        allow_private_hosts: Allow downloads from this machine and local networks
        device: Device of the model
        scratch: Maximum disk space for segments before joining (default: half of the free space)
        keep_segments: Keep segments/ after joining
        execution: Execution options
    """
    from tasks.engine.contract.manifest import check_priority
    from tasks.overlays.sources import ALL_NETWORKS, MAX_BYTES, FetchLimits, read_sources
    from tasks.overlays.wishes import check_codec, check_program, read_detection

    options = CleaningOptions(**pick(CleaningOptions.model_fields, {**locals(), "command": command or ""}))
    limits = FetchLimits(int(max_download or MAX_BYTES), ALL_NETWORKS if allow_private_hosts else ())
    notes: list[str] = []
    sources, problems = read_sources(input, limits, notes)
    detection, detection_problems = read_detection(detector, mask, model, score, classes or [], device)
    problems += [*detection_problems, *check_codec(options), *check_program(method, command, devices)]
    problems += check_priority(execution, ())
    if problems:
        raise InvalidInput(problems)

    def steps(run: BatchRun) -> State[Any]:
        from flows.steps.overlay_removal import remove_overlays

        run.note(notes)
        return remove_overlays(run, sources, limits, detection, options, devices, scratch, keep_segments)

    return steps
