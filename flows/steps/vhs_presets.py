"""The graph of vhs-presets: the diagnosis of the tape, its pieces with each preset, then their comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import get_published_file
from tasks.engine.planning.graph import Done, Graph
from tasks.engine.reporting.report import Picture
from tasks.engine.store.outcomes import Record
from tasks.media.segments.source import load_survey
from tasks.restoration.comparison import cut_pieces
from tasks.restoration.comparison_stage import SHEET, ComparisonStage, make_comparison_item
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
from tasks.restoration.gallery import describe_diagnosis
from tasks.restoration.options import TapeOptions
from tasks.restoration.planning import PlannedTape, Recipe, plan_tape, restrict_to_pieces
from tasks.restoration.segment_stage import SegmentStage, list_segment_items
from tasks.restoration.tapes import Tape


def compare_presets(
    run: BatchRun,
    tape: Tape,
    options: Sequence[TapeOptions],
    folder: Path,
    recipe: Recipe,
    engines: Engines,
    pieces: int,
    piece_seconds: float,
) -> State[Any]:
    """Restore ``pieces`` of ``tape``, which lies in ``folder``, by the preset of each of ``options``, and compare them.

    Raises InvalidInput if a preset cannot restore such a tape.
    """
    plans: list[PlannedTape] = []

    def cut(measured: Done) -> list[Item]:
        digest = measured.digests[survey_path(tape.id)]
        diagnosed = read_diagnosed(tape, folder, measured.record.detail, digest)
        whole = [_plan(diagnosed, option, recipe, run.output_dir) for option in options]
        plans[:] = _cut(whole, get_published_file(run.output_dir, diagnosed.survey), pieces, piece_seconds)
        return [item for plan in plans for item in list_segment_items(plan, engines)]

    def compare(restored: Iterable[Record]) -> list[Item]:
        records = list(restored)
        is_complete = len(records) == sum(len(plan.segments) for plan in plans) > 0
        return [_make_comparison(plans, records)] if is_complete else []

    graph = Graph()
    measured = graph.node(DiagnosisStage(DiagnosisParams()), list_diagnosis_items([tape], folder))
    segments = SegmentStage(engines.by_name, engines.max_slots)
    restored = graph.node(segments, after=measured, split=cut, prunes=True)
    comparison = graph.table(ComparisonStage(), after=restored, collect=compare)
    run.execute(graph)
    if any(run.get_records(comparison)):
        run.pictures += [_make_picture(record, tape, run.output_dir) for record in run.get_records(measured)]
    return run.finish()


def _plan(diagnosis: DiagnosedTape, options: TapeOptions, recipe: Recipe, output_dir: Path) -> PlannedTape:
    tape = replace(diagnosis.tape, id=options.preset, options=options)
    return plan_tape(replace(diagnosis, tape=tape), recipe, output_dir)


def _cut(plans: Sequence[PlannedTape], survey: Path, pieces: int, seconds: float) -> list[PlannedTape]:
    """Limit ``plans`` to the same ``pieces`` of the tape, ``seconds`` long each."""
    context = max(plan.work.chain.context_frames for plan in plans)
    align = max(plan.work.chain.ratio.denominator for plan in plans)
    segments = cut_pieces(load_survey(survey), context, align, pieces, seconds)
    return [restrict_to_pieces(plan, f"pieces/{plan.work.tape}", segments) for plan in plans]


def _make_comparison(plans: list[PlannedTape], restored: Sequence[Record]) -> Item:
    costs, digests = dict[str, float](), dict[str, str]()
    for record in restored:
        for output in record.outputs:
            costs[output.path], digests[output.path] = record.usage.cpu_seconds, output.sha256
    return make_comparison_item(plans, costs, digests)


def _make_picture(measured: Record, tape: Tape, output_dir: Path) -> Picture:
    caption = "; ".join(describe_diagnosis(read_diagnosis(measured.detail)))
    return Picture(tape.path, caption, (output_dir / SHEET).read_bytes())
