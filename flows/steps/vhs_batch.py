"""Stages of vhs-batch: the diagnosis of each tape, its segments, the joined tape and its previews."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from tasks.assembly import Assembly, Whole
from tasks.batch import BatchRun, StageRun
from tasks.engine.contract.errors import BadInput, InvalidInput
from tasks.engine.contract.items import Item
from tasks.engine.store.outcomes import Record
from tasks.media.segment_stages.join_stage import refuse_item
from tasks.media.segment_stages.preview_stage import make_preview_item
from tasks.restoration.diagnosis_stage import (
    DiagnosedTape,
    DiagnosisParams,
    DiagnosisStage,
    list_diagnosis_items,
    read_diagnosed,
    survey_path,
)
from tasks.restoration.engines.choice import Engines
from tasks.restoration.gallery import Shown, tape_gallery
from tasks.restoration.join_stage import JoinStage, make_bare_item, make_join_item
from tasks.restoration.planning import PlannedTape, Recipe, plan_tape
from tasks.restoration.preview_stage import PreviewParams, PreviewStage
from tasks.restoration.segment_stage import SegmentStage, estimate_segment_needs, list_segment_items
from tasks.restoration.size import estimate_tape_bytes
from tasks.restoration.tapes import Tape


def restore_tapes(
    run: BatchRun,
    tapes: Sequence[Tape],
    folder: Path,
    recipe: Recipe,
    engines: Engines,
    auto_detect: bool,
    write_clips: bool,
    scratch_bytes: int | None,
    keep_segments: bool,
) -> State[Any]:
    """Restore ``tapes``, whose paths are relative to ``folder``."""
    measured = run.stage(DiagnosisStage(DiagnosisParams(auto_detect=auto_detect)), list_diagnosis_items(tapes, folder))
    diagnoses = {diagnosis.tape.id: diagnosis for diagnosis in _read_diagnoses(tapes, folder, measured)}
    plans = [_plan_tape(diagnosis, recipe, run.output_dir) for diagnosis in diagnoses.values()]
    works = [plan.work for plan in plans if isinstance(plan, PlannedTape)]
    segments = SegmentStage(engines.by_name, estimate_segment_needs(works, engines))
    assembly = Assembly(segments, JoinStage(), scratch_bytes, keep_segments)
    joined = assembly.run(run, [_whole(plan) for plan in plans])
    restored = [record for stage_run in joined for record in stage_run.records()]
    previews = [_preview_item(record, diagnoses) for record in restored]
    run.stage(PreviewStage(PreviewParams(clip=write_clips)), previews)
    run.pictures += tape_gallery([_shown(record, diagnoses[record.id]) for record in restored], run.output_dir)
    return run.finish()


def _read_diagnoses(tapes: Sequence[Tape], folder: Path, measured: StageRun) -> Iterator[DiagnosedTape]:
    """Yield the diagnoses of the tapes that were measured."""
    tape_of = {tape.id: tape for tape in tapes}
    for record in measured.records():
        digest = next(output.sha256 for output in record.outputs if output.path == survey_path(record.id))
        yield read_diagnosed(tape_of[record.id], folder, record.detail, digest)


def _plan_tape(diagnosis: DiagnosedTape, recipe: Recipe, output_dir: Path) -> PlannedTape | Item:
    """Plan a tape; if it cannot be restored, return an item that fails with the reason."""
    try:
        return plan_tape(diagnosis, recipe, output_dir)
    except (BadInput, InvalidInput) as error:
        return refuse_item(make_bare_item(diagnosis), str(error))


def _whole(plan: PlannedTape | Item) -> Whole:
    if isinstance(plan, Item):
        return Whole(plan, (), 0)
    return Whole(make_join_item(plan), tuple(list_segment_items(plan)), estimate_tape_bytes(plan))


def _preview_item(record: Record, diagnoses: Mapping[str, DiagnosedTape]) -> Item:
    digests = [output.sha256 for output in record.outputs]
    return make_preview_item(make_bare_item(diagnoses[record.id]), record.detail["work"], digests)


def _shown(record: Record, diagnosis: DiagnosedTape) -> Shown:
    return Shown(record.id, diagnosis.diagnosis, record.values, diagnosis.tape.path)
