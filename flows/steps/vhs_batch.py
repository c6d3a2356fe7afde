"""The graph of vhs-batch: the diagnosis of each tape, its segments, the joined tape and its previews."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Done, Graph, Node, Whole
from tasks.media.segment_stages.preview_stage import make_preview_item
from tasks.restoration.diagnosis_stage import (
    DiagnosedTape,
    DiagnosisParams,
    DiagnosisStage,
    list_diagnosis_items,
    read_diagnosed,
    read_diagnosis,
    survey_path,
)
from tasks.restoration.engines.choice import Engines
from tasks.restoration.gallery import Shown, tape_gallery
from tasks.restoration.join_stage import JoinStage, make_join_item
from tasks.restoration.planning import Recipe, plan_tape
from tasks.restoration.preview_stage import PreviewParams, PreviewStage
from tasks.restoration.segment_stage import SegmentStage, list_segment_items
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
    tape_of = {tape.id: tape for tape in tapes}

    def plan(measured: Done) -> Whole:
        planned = plan_tape(_read_diagnosed(tape_of[measured.id], folder, measured), recipe, run.output_dir)
        joined, size_bytes = make_join_item(planned), estimate_tape_bytes(planned)
        return Whole(joined, lambda: list_segment_items(planned, engines), size_bytes)

    graph = Graph(scratch_bytes)
    diagnosis = DiagnosisStage(DiagnosisParams(auto_detect=auto_detect))
    measured = graph.node(diagnosis, list_diagnosis_items(tapes, folder))
    segments = graph.parts(SegmentStage(engines.by_name, engines.max_slots), after=measured, keeps=keep_segments)
    restored = graph.node(JoinStage(), after=measured, each=plan, parts=segments)
    graph.node(PreviewStage(PreviewParams(clip=write_clips)), after=restored, each=_make_preview)
    run.execute(graph)
    run.pictures += tape_gallery(list(_list_restored(run, measured, restored)), run.output_dir)
    return run.finish()


def _read_diagnosed(tape: Tape, folder: Path, measured: Done) -> DiagnosedTape:
    return read_diagnosed(tape, folder, measured.record.detail, measured.digests[survey_path(tape.id)])


def _make_preview(restored: Done) -> Item:
    return make_preview_item(restored.item, restored.record.detail["work"], restored.digests.values())


def _list_restored(run: BatchRun, measured: Node, restored: Node) -> Iterator[Shown]:
    """Yield the restored tapes with their diagnoses."""
    diagnoses = {record.id: read_diagnosis(record.detail) for record in run.get_records(measured)}
    paths = {outcome.id: outcome.path for outcome in run.get_outcomes(measured)}
    for record in run.get_records(restored):
        yield Shown(record.id, diagnoses[record.id], record.values, paths[record.id])
