"""The stage that joins the restored segments of a tape, adds its audio and verifies the result."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Value
from tasks.media.segment_stages.join_stage import JoinStageBase
from tasks.media.segment_stages.work import WorkPayload
from tasks.restoration.diagnosis_stage import DiagnosedTape
from tasks.restoration.planning import PlannedTape
from tasks.restoration.work import TAPE_PAYLOAD, TapeWork


class JoinStage(JoinStageBase[TapeWork]):
    """Joins one tape."""

    name: ClassVar[str] = "tapes"
    version: ClassVar[int] = 2

    @property
    def payload(self) -> WorkPayload[TapeWork]:
        """The payload of this stage's items."""
        return TAPE_PAYLOAD

    def describe(self, item: Item, work: TapeWork) -> dict[str, Value]:
        """Return the columns that say how the tape was restored."""
        return {
            "preset": work.preset,
            "chosen_because": item.payload["reason"],
            "chain": [f"{step.filter}: {step.reason}" for step in work.chain.steps],
            "width_px": work.chain.width_px,
            "height_px": work.chain.height_px,
        }


def make_join_item(planned: PlannedTape) -> Item:
    """Return the item of a tape whose segments are restored first."""
    payload = TAPE_PAYLOAD.dump(planned.work, planned.segments) | {"reason": planned.reason}
    return replace(make_bare_item(planned.diagnosed), payload=payload, cost=float(planned.frames))


def make_bare_item(diagnosed: DiagnosedTape) -> Item:
    """Return the item of a tape without a plan."""
    tape = diagnosed.tape
    return Item(tape.id, {}, (str(diagnosed.path),), 0.0, tape.fields, tape.name, tape.path)
