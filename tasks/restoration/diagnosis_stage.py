"""The stage that diagnoses a tape and surveys its frames for the later stages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, TypeAdapter

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Value, Workspace
from tasks.media.segments.codecs import Codec
from tasks.media.segments.containers import choose_container
from tasks.media.segments.source import Survey, save_survey, survey_video
from tasks.media.segments.tail import list_damage_columns
from tasks.restoration.diagnosis import Diagnosis
from tasks.restoration.measuring.measure import diagnose
from tasks.restoration.measuring.stated import read_stated_diagnosis
from tasks.restoration.tapes import Tape

_DIAGNOSIS = TypeAdapter(Diagnosis)


class DiagnosisParams(BaseModel):
    """``auto_detect``: measure the tape instead of relying on the tags of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    auto_detect: bool = True


@dataclass(frozen=True)
class DiagnosedTape:
    """A tape with its diagnosis.

    survey      path of its survey, relative to the output folder; ``digest``: sha256 of that file
    containers  per codec, the extension of a file that holds all streams of the tape
    missing     the missing part of the file, in one clause; None if it is complete
    """

    tape: Tape
    path: Path
    diagnosis: Diagnosis
    survey: str
    digest: str
    containers: Mapping[str, str]
    missing: str | None


class DiagnosisStage(Stage):
    """Diagnoses one tape. The item's only input is the tape; it publishes the survey, which lists the frames."""

    name: ClassVar[str] = "diagnosis"
    version: ClassVar[int] = 2
    memory_bytes: ClassVar[int] = 512 * 2**20
    timeout_seconds: ClassVar[float] = 3600.0
    packages: ClassVar[tuple[str, ...]] = ("av", "numpy", "opencv-contrib-python", "scipy")
    params: DiagnosisParams

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Diagnose the tape. Raises BadInput if it is not a video or no frame can be read."""
        path = work.input(item.inputs[0])
        survey = survey_video(path, tolerant=True)
        diagnosis = diagnose(path, survey) if self.params.auto_detect else read_stated_diagnosis(path, survey)
        save_survey(survey, work.output(survey_path(item.id)))
        missing = survey.damage.reason if survey.damage else None
        detail = {
            "diagnosis": asdict(diagnosis),
            "containers": {codec: choose_container(path, codec).suffix for codec in get_args(Codec)},
            "missing": missing,
        }
        return StageResult(_make_values(diagnosis, survey) | list_damage_columns(survey.damage), detail)


def list_diagnosis_items(tapes: Iterable[Tape], folder: Path) -> list[Item]:
    """Return an item for each of ``tapes``, which are in ``folder``."""
    return [_make_item(tape, folder / tape.path) for tape in tapes]


def _make_item(tape: Tape, path: Path) -> Item:
    if tape.refusal:
        return Item(tape.id, fields=tape.fields, name=tape.name, path=tape.path, refusal=tape.refusal)
    return Item(tape.id, {}, (str(path),), float(path.stat().st_size), tape.fields, tape.name, tape.path)


def read_diagnosed(tape: Tape, folder: Path, detail: Mapping[str, Any], digest: str) -> DiagnosedTape:
    """Return the tape with the ``detail`` of its record; ``digest`` is the sha256 of its published survey."""
    return DiagnosedTape(
        tape=tape,
        path=folder / tape.path,
        diagnosis=read_diagnosis(detail),
        survey=survey_path(tape.id),
        digest=digest,
        containers=detail["containers"],
        missing=detail["missing"],
    )


def read_diagnosis(detail: Mapping[str, Any]) -> Diagnosis:
    """Return the diagnosis in the ``detail`` of a record."""
    return _DIAGNOSIS.validate_python(detail["diagnosis"])


def survey_path(tape: str) -> str:
    """Return the path of the survey of the tape with that ID, relative to the output folder."""
    return f"surveys/{tape}.npz"


def _make_values(diagnosis: Diagnosis, survey: Survey) -> dict[str, Value]:
    """Return the diagnosis as columns."""
    values: dict[str, Any] = asdict(diagnosis)
    borders = values.pop("borders")
    values |= {f"border_{name}": pixels for name, pixels in borders.items()}
    values["silent_channels"] = [str(channel) for channel in diagnosis.silent_channels]
    values["windows"] = len(diagnosis.windows)
    return values | {"pixel_format": survey.picture.pixel_format}
