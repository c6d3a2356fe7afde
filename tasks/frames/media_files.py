"""The clips and the audio files of a video's samples, and their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.stage import Workspace
from tasks.frames.audio import AudioFile, AudioPart, extract_audio, hash_file
from tasks.frames.clips import Clip, ExactCutter, copy_clip
from tasks.frames.manifest import MEDIA_COLUMNS
from tasks.frames.params import FramesParams
from tasks.frames.sampling import Selection
from tasks.media.reading import VideoReader

FOLDERS = ("frames", "clips", "audio")
CLIP, AUDIO = MEDIA_COLUMNS
_CLIP_FIGURES = ("path", "start_seconds", "end_seconds", "first_frame", "frames", "size_bytes", "sha256")


def write_media_files(
    reader: VideoReader, selections: Mapping[str, Selection], params: FramesParams, work: Workspace
) -> dict[str, dict[str, Any]]:
    """Write the requested files of each sample, and return their rows by sample and by CLIP and AUDIO.

    A row is None if the sample has no frames, or the video no audio. With ``on_damage="fail"``, raises BadInput if a
    clip cannot be cut; otherwise its row has the problem instead of a path.
    """
    rows: dict[str, dict[str, Any]] = {sample: {} for sample in selections}
    parts = {sample: selection.frames for sample, selection in selections.items()}
    if params.clips != "none":
        clips = dict(_cut_clips(reader, parts, params, work))
        for sample, row in rows.items():
            row[CLIP] = clips.get(sample)
    if params.audio != "none":
        files = _extract_audio(reader, parts, params, work)
        for sample, row in rows.items():
            row[AUDIO] = files.get(sample)
    return rows


def _cut_clips(
    reader: VideoReader, parts: Mapping[str, tuple[int, int]], params: FramesParams, work: Workspace
) -> Iterator[tuple[str, dict[str, Any]]]:
    cutter: ExactCutter | None = None
    origin = _get_origin(reader, params)
    for sample, (first, stop) in parts.items():
        if first >= stop:
            continue
        target = work.output(f"clips/{sample}.mp4")
        try:
            if params.clips == "copy":
                clip = copy_clip(reader.path, reader.listing, first, stop, target)
            else:
                by_decoding = not reader.listing.by_index
                cutter = cutter or ExactCutter(
                    reader.path, work.scratch, len(reader.timeline), params.on_damage == "skip", by_decoding
                )
                clip = cutter.cut(first, stop, target)
        except BadInput as error:
            if params.on_damage == "fail":
                raise
            target.unlink(missing_ok=True)
            yield sample, {**dict.fromkeys(_CLIP_FIGURES), "problem": str(error)}
        else:
            yield sample, _describe_clip(clip, reader, origin, work)


def _describe_clip(clip: Clip, reader: VideoReader, origin: Fraction, work: Workspace) -> dict[str, Any]:
    seconds = [float(_get_seconds(reader, index) - origin) for index in (clip.first, clip.stop)]
    row = {
        "path": clip.path.relative_to(work.outputs).as_posix(),
        "start_seconds": seconds[0],
        "end_seconds": seconds[1],
        "first_frame": clip.first,
        "frames": clip.stop - clip.first,
        "size_bytes": clip.path.stat().st_size,
        "sha256": hash_file(clip.path),
    }
    return {**row, "problem": None}


def _extract_audio(
    reader: VideoReader, parts: Mapping[str, tuple[int, int]], params: FramesParams, work: Workspace
) -> dict[str, dict[str, Any]]:
    assert params.audio != "none"
    paths = {sample: f"audio/{sample}.{params.audio}" for sample, (first, stop) in parts.items() if first < stop}
    requests = [
        AudioPart(sample, _get_seconds(reader, first), _get_seconds(reader, stop), work.output(paths[sample]))
        for sample, (first, stop) in parts.items()
        if sample in paths
    ]
    files = extract_audio(reader.path, requests, params.audio)
    origin = _get_origin(reader, params)
    return {sample: _describe_audio(paths[sample], file, origin) for sample, file in files.items()}


def _describe_audio(path: str, file: AudioFile, origin: Fraction) -> dict[str, Any]:
    return {
        "path": path,
        "start_seconds": float(file.start - origin),
        "duration_seconds": file.duration_seconds,
        "sample_rate": file.sample_rate,
        "channels": file.channels,
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
    }


def _get_seconds(reader: VideoReader, index: int) -> Fraction:
    """Return the start of frame ``index`` in seconds of the file; of one behind the last, its end."""
    timeline = reader.timeline
    ticks = int(timeline.ticks[index]) if index < len(timeline) else timeline.end_ticks
    return (ticks + int(timeline.pts[0])) * timeline.time_base


def _get_origin(reader: VideoReader, params: FramesParams) -> Fraction:
    """Return the origin of all times in rows, in seconds of the file."""
    first = _get_seconds(reader, 0)
    return first - reader.offset if params.time_origin == "file" else first
