"""The plan for one video, and its form as the payload of an item."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from tasks.engine.contract.stage import get_published_file
from tasks.media.segments.clock import Clock, build_clock
from tasks.media.segments.plan import Segment
from tasks.media.segments.source import Survey, load_survey
from tasks.media.segments.verify import SegmentReport, read_reports


class SegmentedWork(ABC):
    """The plan for one video. Subclasses are frozen dataclasses of plain values.

    All paths are relative to the output folder. They may come from a forged record, so files are opened by
    ``get_published_file`` only, which raises PermissionError for a path that leads out of that folder.
    """

    @property
    @abstractmethod
    def id(self) -> str:
        """ID of the video."""

    @property
    @abstractmethod
    def segment_folder(self) -> str:
        """Folder of the processed segments."""

    @property
    @abstractmethod
    def survey_path(self) -> str:
        """Path of the video's survey."""

    @property
    @abstractmethod
    def result_path(self) -> str:
        """Path at which the joined video is published."""

    @property
    def frame_ratio(self) -> Fraction:
        """Frames written per frame read."""
        return Fraction(1)

    def segment_path(self, segment: Segment) -> str:
        """Return the path at which the processed segment is published."""
        return f"{self.segment_folder}/{segment.number:04d}.mp4"

    def report_path(self, segment: Segment) -> str:
        """Return the path of the report on that file."""
        return f"{self.segment_folder}/{segment.number:04d}.json"

    def load_survey(self, output_dir: Path) -> Survey:
        """Read the survey. Raises OSError or BadInput if it is missing or damaged."""
        return load_survey(get_published_file(output_dir, self.survey_path))

    def make_clock(self, survey: Survey) -> Clock:
        """Return the clock of the joined video. Raises BadInput if the times of the source are damaged."""
        return build_clock(survey.timeline, self.frame_ratio)

    def segment_files(self, output_dir: Path, segments: Iterable[Segment]) -> tuple[Path, ...]:
        """Return the files of ``segments``, in order."""
        return tuple(get_published_file(output_dir, self.segment_path(segment)) for segment in segments)

    def read_reports(self, output_dir: Path, segments: Iterable[Segment]) -> list[SegmentReport]:
        """Read the reports on ``segments``, in order. Raises BadInput if some are missing or damaged."""
        return read_reports([get_published_file(output_dir, self.report_path(segment)) for segment in segments])


Work = TypeVar("Work", bound=SegmentedWork)
_SEGMENTS = TypeAdapter(tuple[Segment, ...])


class WorkPayload(Generic[Work]):
    """Converts a work of type ``kind``, with segments, to an item's payload and back."""

    def __init__(self, kind: type[Work]) -> None:
        self._work: TypeAdapter[Work] = TypeAdapter(kind)

    def dump(self, work: Work, segments: Sequence[Segment]) -> dict[str, Any]:
        """Return ``work`` on ``segments`` as JSON values."""
        return {
            "work": self._work.dump_python(work, mode="json"),
            "segments": _SEGMENTS.dump_python(tuple(segments), mode="json"),
        }

    def load(self, payload: Mapping[str, Any]) -> tuple[Work, tuple[Segment, ...]]:
        """Return the work and the segments that ``dump`` wrote."""
        return self.load_work(payload), _SEGMENTS.validate_python(payload["segments"])

    def load_work(self, payload: Mapping[str, Any]) -> Work:
        """Return the work alone."""
        return self._work.validate_python(payload["work"])
