"""The stage that joins the processed segments of a video, adds the audio and verifies the result."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Generic

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import NoParams, Stage, StageResult, Value, Workspace
from tasks.media.segment_stages.work import Work, WorkPayload
from tasks.media.segments.joining import JoinPlan, join_segments
from tasks.media.segments.source import Survey
from tasks.media.segments.verify import verify_joined


class JoinStageBase(Stage, Generic[Work]):
    """Joins one video.

    The item's only input is the source video; its payload is the work and all segments. The files of the segments
    enter no key: they are derived from the same source by the same work, and are removed after the join.
    ``copies_source``: a video without segments is copied; otherwise that is an error.
    """

    memory_bytes: ClassVar[int] = 512 * 2**20
    timeout_seconds: ClassVar[float] = 3600.0
    packages: ClassVar[tuple[str, ...]] = ("av",)
    copies_source: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__(NoParams())

    @property
    @abstractmethod
    def payload(self) -> WorkPayload[Work]:
        """The payload of this stage's items."""

    @abstractmethod
    def describe(self, item: Item, work: Work) -> dict[str, Value]:
        """Return the columns that describe the processing of the video."""

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Join the segments, verify the joined video and report losses.

        Raises BadInput if segments are missing, SegmentError if they do not add up to the whole video.
        """
        video, segments = self.payload.load(item.payload)
        source, survey = work.input(item.inputs[0]), video.load_survey(work.output_dir)
        values = self.describe(item, video)
        output = work.output(video.result_path)
        if self.copies_source and not segments:
            values |= _copy(source, survey, output)
        else:
            reports = video.read_reports(work.output_dir, segments)
            files = video.segment_files(work.output_dir, segments)
            plan = JoinPlan(source, survey, video.make_clock(survey), segments, files)
            joined = join_segments(plan, output)
            report = verify_joined(joined, plan, reports)
            values |= {
                "frames": report.frames,
                "duration_seconds": report.duration_seconds,
                "segments": len(segments),
                "not_carried": list(joined.lost),
                "converted": [str(conversion) for conversion in joined.converted],
                "missing": _get_missing(survey),
                "damaged_frames": sum(report.damaged_frames for report in reports),
                "sound_late_seconds": report.audio_late_seconds,
            }
        return StageResult(values, {"work": item.payload["work"]})


def _copy(source: Path, survey: Survey, output: Path) -> dict[str, Value]:
    """Copy the source to ``output`` and return the same columns as for a joined video."""
    shutil.copyfile(source, output)
    return {
        "frames": len(survey.timeline),
        "duration_seconds": survey.timeline.duration_seconds,
        "segments": 0,
        "not_carried": [],
        "converted": [],
        "missing": _get_missing(survey),
        "damaged_frames": 0,
        "sound_late_seconds": 0.0,
    }


def _get_missing(survey: Survey) -> str | None:
    return survey.damage.reason if survey.damage else None
