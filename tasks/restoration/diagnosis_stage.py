"""The stage that finds out what is wrong with a tape, and lists its frames for the stages after it."""

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
from tasks.media.segments.tail import damage_values
from tasks.restoration.diagnosis import Diagnosis
from tasks.restoration.measuring.measure import diagnose
from tasks.restoration.measuring.stated import stated_diagnosis
from tasks.restoration.tapes import Tape

_DIAGNOSIS = TypeAdapter(Diagnosis)


class DiagnosisParams(BaseModel):
    """``auto_detect``: whether the tape is measured, or the file is believed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    auto_detect: bool = True


@dataclass(frozen=True)
class Diagnosed:
    """A tape, and what is known of it.

    survey      where the survey of it was published, relative to the output folder; ``digest``: sha256 of that file
    containers  for each codec, the extension of the file that holds all of the tape's streams
    missing     what the file has lost, in one clause; None where it is whole
    """

    tape: Tape
    path: Path
    diagnosis: Diagnosis
    survey: str
    digest: str
    containers: Mapping[str, str]
    missing: str | None


class DiagnosisStage(Stage):
    """Measures one tape. The item's only input is the tape; published is the survey of it, which lists its frames."""

    name: ClassVar[str] = "diagnosis"
    version: ClassVar[int] = 2
    memory_bytes: ClassVar[int] = 512 * 2**20
    timeout_seconds: ClassVar[float] = 3600.0
    packages: ClassVar[tuple[str, ...]] = ("av", "numpy", "opencv-contrib-python", "scipy")
    params: DiagnosisParams

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Measure the tape. Raises BadInput where it is no video, or not one frame of it can be read."""
        path = work.input(item.inputs[0])
        found = survey_video(path, tolerant=True)
        known = diagnose(path, found) if self.params.auto_detect else stated_diagnosis(path, found)
        save_survey(found, work.output(survey_path(item.id)))
        missing = found.damage.reason if found.damage else None
        detail = {
            "diagnosis": asdict(known),
            "containers": {codec: choose_container(path, codec).suffix for codec in get_args(Codec)},
            "missing": missing,
        }
        return StageResult(_values(known, found) | damage_values(found.damage), detail)


def diagnosis_items(tapes: Iterable[Tape], folder: Path) -> list[Item]:
    """An item for each of ``tapes``, which lie in ``folder``."""
    return [_diagnosis_item(tape, folder / tape.path) for tape in tapes]


def _diagnosis_item(tape: Tape, path: Path) -> Item:
    if tape.refusal:
        return Item(tape.id, fields=tape.fields, name=tape.name, path=tape.path, refusal=tape.refusal)
    return Item(tape.id, {}, (str(path),), float(path.stat().st_size), tape.fields, tape.name, tape.path)


def diagnosed(tape: Tape, folder: Path, detail: Mapping[str, Any], digest: str) -> Diagnosed:
    """A tape in ``folder`` with the stage's ``detail`` of it; ``digest`` is the sha256 of its published survey."""
    return Diagnosed(
        tape=tape,
        path=folder / tape.path,
        diagnosis=_DIAGNOSIS.validate_python(detail["diagnosis"]),
        survey=survey_path(tape.id),
        digest=digest,
        containers=detail["containers"],
        missing=detail["missing"],
    )


def survey_path(tape: str) -> str:
    """Where the survey of the tape with that id is published, relative to the output folder."""
    return f"surveys/{tape}.npz"


def _values(known: Diagnosis, found: Survey) -> dict[str, Value]:
    """The diagnosis as columns."""
    values: dict[str, Any] = asdict(known)
    borders = values.pop("borders")
    values |= {f"border_{name}": pixels for name, pixels in borders.items()}
    values["silent_channels"] = [str(channel) for channel in known.silent_channels]
    values["windows"] = len(known.windows)
    return values | {"pixel_format": found.picture.pixel_format}
