"""The stage that shows what was done to a tape: frames before and after, and a clip split down its middle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace
from tasks.restoration.diagnosis_stage import Diagnosed
from tasks.restoration.join_stage import restored_path
from tasks.restoration.previews import comparison_sheet, split_screen
from tasks.restoration.work import TapeWork

_WORK = TypeAdapter(TapeWork)


class PreviewParams(BaseModel):
    """``clip``: whether a clip is made, too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: bool = False


class PreviewStage(Stage):
    """Shows one tape. The item's only input is the tape; what was restored enters the key by its digest."""

    name: ClassVar[str] = "previews"
    version: ClassVar[int] = 1
    memory_bytes: ClassVar[int] = 768 * 2**20
    timeout_seconds: ClassVar[float] = 1800.0
    packages: ClassVar[tuple[str, ...]] = ("av", "opencv-contrib-python-headless")
    params: PreviewParams

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Make the sheet, and the clip where it is asked for. Raises BadInput where a video cannot be read."""
        tape = _WORK.validate_python(item.payload["work"])
        source, restored = work.input(item.inputs[0]), work.output_dir / restored_path(tape)
        found = tape.loaded(work.output_dir)
        work.output(sheet_path(tape.tape)).write_bytes(comparison_sheet(source, found, restored, tape.chain))
        if self.params.clip:
            split_screen(source, found, restored, tape.chain, work.output(f"previews/{tape.tape}.mp4"))
        return StageResult()


def preview_item(known: Diagnosed, work: Mapping[str, Any], digests: Iterable[str]) -> Item:
    """The item of a tape; ``work`` is its TapeWork as JSON, ``digests`` are those of what was restored."""
    payload = {"work": dict(work), "digests": list(digests)}
    return Item(known.tape.id, payload, (str(known.path),), name=known.tape.name, path=known.tape.path)


def sheet_path(tape: str) -> str:
    """Where the sheet of the tape with that id is published, relative to the output folder."""
    return f"previews/{tape}.jpg"
