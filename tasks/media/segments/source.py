"""What is learnt of a video once, so that no segment has to read the file through again.

The survey of a video is made before it is cut, written beside its plan, and read by each segment and by the join.
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
from tasks.media.listing import IndexedListing
from tasks.media.runs import plan_runs
from tasks.media.segments.counting import Counted, count_frames
from tasks.media.segments.picture import PictureFormat, picture_format
from tasks.media.segments.tail import Damage, cut_damaged_end, missing_end
from tasks.media.timeline import Timeline

# Where packets are tried for giving the frames that they promise, so many are decoded in a row.
_TRIED_PACKETS = 48
_COLUMNS = ("pts", "dts", "durations", "sizes", "keyframe", "entry", "second", "unpaired", "hidden", "corrupt")


@dataclass(frozen=True)
class Survey:
    """What is known of a video file.

    display_matrix  how frames are to be turned to be shown: nine int32 as in libavutil/display.h; empty for not at all
    positions       int64, one a frame in the order in which they are shown: its packet's position in ``index``;
                    ``None`` where packets do not tell which frame is shown when, and frames are counted
    restarts        where counting may start: see Counted
    tolerant        damaged frames are taken as the decoder conceals them; else they are an error
    damage          what is missing at the end; ``None`` where nothing is
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
        """Raises BadInput where the file at ``path`` cannot be the one that was surveyed."""
        size = path.stat().st_size if path.is_file() else -1
        if size != self.file_size_bytes:
            raise BadInput(f"{path.name}: has changed since it was cut into segments; run it again")


def survey_video(path: Path, tolerant: bool = False, by_decoding: bool = False) -> Survey:
    """Read the video at ``path`` through, without decoding more of it than is needed to know its frames.

    ``by_decoding`` decodes all of it, for files whose packets mislead; where a few tries show that they do, that is
    done unasked. ``tolerant`` takes a damaged or cut file for what there is of it.
    Raises BadInput where the file is damaged, empty or no video.
    """
    with PacketSource(path) as source:
        if source.truncation is not None and not tolerant:
            raise BadInput(f"{path.name}: is truncated: {source.truncation.reason}; fetch it again")
        orderly = source.index.is_orderly and not source.lacks_presentation_times
        if orderly and not by_decoding:
            try:
                return _by_index(source, tolerant)
            except UnreliableIndexError:
                pass
        return _survey(source, count_frames(source, tolerant), None, tolerant)


def _by_index(source: PacketSource, tolerant: bool) -> Survey:
    listing = IndexedListing(source)
    positions, timeline = listing.positions, listing.timeline
    damage = None
    if tolerant:
        positions, damage = cut_damaged_end(source, positions)
        timeline = timeline.shortened(len(positions))
    _try_out(source, positions)
    return _survey(source, Counted(timeline, np.empty((0, 2), np.int64), damage), positions, tolerant)


def _survey(source: PacketSource, counted: Counted, positions: Int64s | None, tolerant: bool) -> Survey:
    damage = missing_end(source, counted.timeline, counted.damage) if tolerant else counted.damage
    matrix = _display_matrix(source)
    return Survey(
        file_size_bytes=source.path.stat().st_size,
        picture=picture_format(source.stream),
        display_matrix=matrix,
        index=source.index,
        timeline=counted.timeline,
        positions=positions,
        restarts=counted.restarts,
        tolerant=tolerant,
        damage=damage,
    )


def _display_matrix(source: PacketSource) -> tuple[int, ...]:
    """The first frame's display matrix; decoding it also completes what the decoder knows of the format."""
    frame = next(RunDecoder(source).frames_from(0), None)
    data: Any = None if frame is None else frame.side_data.get("DISPLAYMATRIX")
    return () if data is None else tuple(np.frombuffer(bytes(data), dtype=np.int32).tolist())


def _try_out(source: PacketSource, positions: Int64s) -> None:
    """Decode a few packets at the beginning, in the middle and at the end.

    Raises UnreliableIndexError where a sound packet gives no frame, as fields in packets of their own do.
    """
    decoder = RunDecoder(source)
    for start in {0, len(positions) // 2, max(0, len(positions) - _TRIED_PACKETS)}:
        wanted = sorted(positions[start : start + _TRIED_PACKETS].tolist())
        for run in plan_runs(source.index, wanted):
            shown = {position for position, _ in decoder.wanted_frames(run)}
            if not decoder.complaints and not shown.issuperset(run.wanted):
                raise UnreliableIndexError(f"{source.path.name}: packets give no pictures")


def save_survey(found: Survey, path: Path) -> None:
    """Write a survey to ``path``, an .npz file that ``load_survey`` reads."""
    index, timeline = found.index, found.timeline
    about = {
        "file_size_bytes": found.file_size_bytes,
        "display_matrix": found.display_matrix,
        "picture": asdict(found.picture) | {"sample_aspect": str(found.picture.sample_aspect)},
        "index_time_base": str(index.time_base),
        "time_base": str(timeline.time_base),
        "end_ticks": timeline.end_ticks,
        "tolerant": found.tolerant,
        "by_decoding": found.positions is None,
        "damage": asdict(found.damage) if found.damage else None,
        "side_data": [(piece.position, piece.kind, piece.data.hex()) for piece in index.side_data],
    }
    arrays: dict[str, Any] = {name: getattr(index, name) for name in _COLUMNS}
    arrays |= {"shown_ticks": timeline.ticks, "shown_pts": timeline.pts, "about": np.array(json.dumps(about))}
    arrays["restarts"] = found.restarts
    arrays["positions"] = np.empty(0, np.int64) if found.positions is None else found.positions
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_survey(path: Path) -> Survey:
    """Read the survey at ``path``. Raises OSError if it cannot be read, BadInput if it is damaged."""
    try:
        return _restore_survey(read_arrays(path))
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        advice = "forget the video with python -m tasks.engine forget, and run again"
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
    shown = about["picture"] | {"sample_aspect": Fraction(about["picture"]["sample_aspect"])}
    return Survey(
        file_size_bytes=about["file_size_bytes"],
        picture=PictureFormat(**shown),
        display_matrix=tuple(about["display_matrix"]),
        index=index,
        timeline=timeline,
        positions=positions,
        restarts=restarts,
        tolerant=about["tolerant"],
        damage=Damage(**about["damage"]) if about["damage"] else None,
    )
