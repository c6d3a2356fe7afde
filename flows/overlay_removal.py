"""Remove logos, subtitles and date stamps from videos: ``python flows/overlay_removal.py --help``."""

if __name__ == "__main__":  # before the imports below: the local Prefect API starts while Prefect is imported
    from tasks.launcher.command import main

    raise SystemExit(main("flows.overlay_removal"))

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import ByteSize

from tasks.assembly import Assembly, Whole
from tasks.batch import BatchRun, StageRun, batch_run
from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.store.outcomes import Record
from tasks.media.segment_stages.join_stage import refuse_item
from tasks.media.segment_stages.preview_stage import preview_item
from tasks.media.segments.settings import Crf
from tasks.overlays.fetch_stage import FetchStage, make_fetch_item
from tasks.overlays.gallery import Shown, read_video_gallery
from tasks.overlays.join_stage import JoinStage, make_bare_item, make_join_item
from tasks.overlays.options import CleaningOptions, Detector, Device, Devices, Method, OutputCodec, Score, Segments
from tasks.overlays.prepare_stage import PrepareStage, make_prepare_items, read_prepared
from tasks.overlays.prepared import Prepared
from tasks.overlays.preview_stage import PreviewStage
from tasks.overlays.segment_stage import CleanStage, estimate_segment_needs, make_segment_items
from tasks.overlays.size import estimate_cleaned_bytes
from tasks.overlays.sources import ALL_NETWORKS, MAX_BYTES, FetchLimits, read_sources
from tasks.overlays.video_source import VideoSource
from tasks.overlays.wishes import Detection, check_codec, check_program, read_detection
from tasks.overlays.work import PlannedVideo, plan_video


@dataclass(frozen=True)
class Inputs:
    """The videos, download limits, and the options of detection and removal."""

    sources: list[VideoSource]
    limits: FetchLimits
    detection: Detection
    options: CleaningOptions
    devices: int | None
    notes: list[str]


def read_inputs(
    input: str,
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
) -> Inputs:
    """Read and check the inputs. Raises InvalidInput with all problems."""
    limits = FetchLimits(int(max_download or MAX_BYTES), ALL_NETWORKS if allow_private_hosts else ())
    notes: list[str] = []
    sources, problems = read_sources(input, limits, notes)
    detection, detection_problems = read_detection(detector, mask, model, score, classes or [], device)
    problems += detection_problems
    options = CleaningOptions(
        method=method,
        command=command or "",
        segments=segments,
        min_segment_frames=min_segment_frames,
        codec=codec,
        crf=crf,
    )
    problems += check_codec(options) + check_program(method, command, devices)
    if problems:
        raise InvalidInput(problems)
    return Inputs(sources, limits, detection, options, devices, notes)


@flow(name="overlay-removal", flow_run_name="overlay-removal {output_dir}", persist_result=False)
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
) -> State[Any]:
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
        execution: How the run is carried out
    """
    parameters = dict(locals())
    inputs = read_inputs(
        input,
        detector,
        mask,
        model,
        score,
        classes,
        method,
        command,
        devices,
        segments,
        min_segment_frames,
        codec,
        crf,
        max_download,
        allow_private_hosts,
        device,
    )
    with batch_run("overlay-removal", output_dir, execution, parameters) as run:
        run.note(inputs.notes)
        videos = _fetch_videos(run, inputs)
        prepared_run = run.stage(
            PrepareStage(inputs.detection.params), make_prepare_items(videos.values(), inputs.detection.extra)
        )
        prepared = {video.video: video for video in _list_prepared(videos, prepared_run)}
        planned = [_plan(video, inputs.options, run.output_dir) for video in prepared.values()]
        stage = CleanStage(
            estimate_segment_needs((video for video in planned if isinstance(video, PlannedVideo)), inputs.devices)
        )
        joined = Assembly(stage, JoinStage(), scratch, keep_segments).run(
            run, [_make_whole(video) for video in planned]
        )
        cleaned = [record for part in joined for record in part.records()]
        run.stage(PreviewStage(), [_make_preview(record, prepared) for record in cleaned])
        shown = [Shown(record.id, record.values, videos[record.id].name) for record in cleaned]
        run.pictures += read_video_gallery(shown, run.output_dir)
        return run.finish()


def _fetch_videos(run: BatchRun, inputs: Inputs) -> dict[str, VideoSource]:
    """Return the videos by id; download those with a URL."""
    videos = {source.id: source for source in inputs.sources if not source.url}
    elsewhere = {source.id: source for source in inputs.sources if source.url}
    if elsewhere:
        for record in run.stage(FetchStage(inputs.limits), list(map(make_fetch_item, elsewhere.values()))).records():
            videos[record.id] = replace(elsewhere[record.id], path=run.output_dir / record.outputs[0].path)
    return videos


def _list_prepared(videos: Mapping[str, VideoSource], prepared_run: StageRun) -> Iterator[Prepared]:
    """Yield the prepared videos."""
    for record in prepared_run.records():
        digests = {output.path: output.sha256 for output in record.outputs}
        source = videos[record.id]
        assert source.path is not None, "only local videos are prepared"
        yield read_prepared(record.id, source.path, record.detail, digests, source)


def _plan(prepared: Prepared, options: CleaningOptions, output_dir: Path) -> PlannedVideo | Item:
    """Return the plan for a video; an item that fails with the reason if there is none."""
    try:
        return plan_video(prepared, options, output_dir)
    except InvalidInput as error:
        return refuse_item(make_bare_item(prepared), str(error))


def _make_whole(video: PlannedVideo | Item) -> Whole:
    if isinstance(video, Item):
        return Whole(video, (), 0)
    return Whole(make_join_item(video), tuple(make_segment_items(video)), estimate_cleaned_bytes(video))


def _make_preview(record: Record, known: Mapping[str, Prepared]) -> Item:
    digests = [output.sha256 for output in record.outputs]
    return preview_item(make_bare_item(known[record.id]), record.detail["work"], digests)
