"""The survey of a video: its frames and their packets, so that segments need not read the whole file.

It is created before the video is divided, saved next to the plan, and loaded for each segment and for the join.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tasks.engine.contract.bounded import parse_json
from tasks.engine.contract.errors import BadInput
from tasks.media.arrays import read_arrays
from tasks.media.decoding import RunDecoder, UnreliableIndexError
from tasks.media.demuxing import PacketSource
from tasks.media.index import Int64s, PacketIndex, SideData
from tasks.media.listing import list_by_index
from tasks.media.runs import plan_runs
from tasks.media.segments.counting import CountedFrames, count_frames
from tasks.media.segments.picture import PictureFormat, read_frame_format
from tasks.media.segments.tail import Damage, add_missing_end, cut_damaged_end
from tasks.media.timeline import Timeline

# Number of consecutive packets decoded per trial.
_TRIAL_PACKETS = 48
_COLUMNS = ("pts", "dts", "durations", "sizes", "keyframe", "entry", "second", "unpaired", "hidden", "corrupt")


@dataclass(frozen=True)
class Survey:
    """The survey of a video file.

    display_matrix  rotation for display: nine int32 as in libavutil/display.h; empty without rotation
    positions       int64, one per frame in presentation order: the position of its packet in ``index``; None if packets
                    have no reliable times and frames are counted
    restarts        points at which counting may start: see CountedFrames
    tolerant        damaged frames are used as the decoder conceals them; otherwise they are errors
    damage          the damage at the end; None if there is none
    """

    file_size_bytes: int
    picture: PictureFormat
    display_matrix: tuple[int, ...]
    index: PacketIndex
    timeline: Timeline
    positions: Int64s | None
    restarts: Int64s
    tolerant: bool
    damage: Damage | None

    def check_file(self, path: Path) -> None:
        """Raise BadInput if the file at ``path`` cannot be the surveyed one."""
        size = path.stat().st_size if path.is_file() else -1
        if size != self.file_size_bytes:
            raise BadInput(f"{path.name}: has changed since it was cut into segments; run it again")


def survey_video(path: Path, tolerant: bool = False, by_decoding: bool = False) -> Survey:
    """Read the whole video at ``path``, decoding as little as possible to list its frames.

    ``by_decoding`` decodes all of it, for files with misleading packets; trials detect most of them automatically.
    ``tolerant`` accepts the readable part of a damaged or truncated file.
    Raises BadInput if the file is damaged, empty or not a video.
    """
    with PacketSource(path) as source:
        if source.truncation is not None and not tolerant:
            raise BadInput(f"{path.name}: is truncated: {source.truncation.reason}; fetch it again")
        orderly = source.index.is_orderly and not source.lacks_presentation_times
        if orderly and not by_decoding:
            try:
                return _survey_by_index(source, tolerant)
            except UnreliableIndexError:
                pass
        return _make_survey(source, count_frames(source, tolerant), None, tolerant)


def _survey_by_index(source: PacketSource, tolerant: bool) -> Survey:
    listing = list_by_index(source, RunDecoder(source))
    positions, timeline = listing.positions, listing.timeline
    damage = None
    if tolerant:
        positions, damage = cut_damaged_end(source, positions)
        timeline = timeline.truncate(len(positions))
    _try_packets(source, positions)
    return _make_survey(source, CountedFrames(timeline, np.empty((0, 2), np.int64), damage), positions, tolerant)


def _make_survey(source: PacketSource, counted: CountedFrames, positions: Int64s | None, tolerant: bool) -> Survey:
    damage = add_missing_end(source, counted.timeline, counted.damage) if tolerant else counted.damage
    matrix = _read_display_matrix(source)
    return Survey(
        file_size_bytes=source.path.stat().st_size,
        picture=read_frame_format(source.stream),
        display_matrix=matrix,
        index=source.index,
        timeline=counted.timeline,
        positions=positions,
        restarts=counted.restarts,
        tolerant=tolerant,
        damage=damage,
    )


def _read_display_matrix(source: PacketSource) -> tuple[int, ...]:
    """Return the first frame's display matrix; decoding it also completes the decoder's format."""
    frame = next(RunDecoder(source).decode_from(0), None)
    data: Any = None if frame is None else frame.side_data.get("DISPLAYMATRIX")
    return () if data is None else tuple(np.frombuffer(bytes(data), dtype=np.int32).tolist())


def _try_packets(source: PacketSource, positions: Int64s) -> None:
    """Decode a few packets at the start, in the middle and at the end.

    Raises UnreliableIndexError if an intact packet gives no frame, as fields in separate packets do.
    """
    decoder = RunDecoder(source)
    for start in {0, len(positions) // 2, max(0, len(positions) - _TRIAL_PACKETS)}:
        wanted = sorted(positions[start : start + _TRIAL_PACKETS].tolist())
        for run in plan_runs(source.index, wanted):
            decoded = {position for position, _ in decoder.decode_wanted(run)}
            if not decoder.complaints and not decoded.issuperset(run.wanted):
                raise UnreliableIndexError(f"{source.path.name}: packets without frames")


def save_survey(survey: Survey, path: Path) -> None:
    """Write a survey to ``path``, an .npz file for ``load_survey``."""
    index, timeline = survey.index, survey.timeline
    about = {
        "file_size_bytes": survey.file_size_bytes,
        "display_matrix": survey.display_matrix,
        "picture": asdict(survey.picture) | {"sample_aspect": str(survey.picture.sample_aspect)},
        "index_time_base": str(index.time_base),
        "time_base": str(timeline.time_base),
        "end_ticks": timeline.end_ticks,
        "tolerant": survey.tolerant,
        "by_decoding": survey.positions is None,
        "damage": asdict(survey.damage) if survey.damage else None,
        "side_data": [(piece.position, piece.kind, piece.data.hex()) for piece in index.side_data],
    }
    arrays: dict[str, Any] = {name: getattr(index, name) for name in _COLUMNS}
    arrays |= {"shown_ticks": timeline.ticks, "shown_pts": timeline.pts, "about": np.array(json.dumps(about))}
    arrays["restarts"] = survey.restarts
    arrays["positions"] = np.empty(0, np.int64) if survey.positions is None else survey.positions
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_survey(path: Path) -> Survey:
    """Read the survey at ``path``. Raises OSError if it cannot be read, BadInput if it is damaged."""
    try:
        return _restore_survey(read_arrays(path))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        advice = "forget the video with headrace items forget, and run again"
        raise BadInput(f"the survey in {path.name} cannot be read: {error}; {advice}") from error


def _restore_survey(arrays: Mapping[str, Any]) -> Survey:
    about = parse_json(str(arrays["about"]))
    columns = {name: arrays[name] for name in _COLUMNS}
    side_data = tuple(SideData(place, kind, bytes.fromhex(data)) for place, kind, data in about["side_data"])
    index = PacketIndex(**columns, time_base=Fraction(about["index_time_base"]), side_data=side_data)
    time_base = Fraction(about["time_base"])
    timeline = Timeline(arrays["shown_ticks"], arrays["shown_pts"], about["end_ticks"], time_base)
    positions = None if about["by_decoding"] else arrays["positions"]
    restarts = arrays["restarts"]
    picture = about["picture"] | {"sample_aspect": Fraction(about["picture"]["sample_aspect"])}
    return Survey(
        file_size_bytes=about["file_size_bytes"],
        picture=PictureFormat(**picture),
        display_matrix=tuple(about["display_matrix"]),
        index=index,
        timeline=timeline,
        positions=positions,
        restarts=restarts,
        tolerant=about["tolerant"],
        damage=Damage(**about["damage"]) if about["damage"] else None,
    )
