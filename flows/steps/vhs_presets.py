"""Stages of vhs-presets: the diagnosis of the tape, its pieces by each preset, then their comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun, StageRun
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import get_published_file
from tasks.engine.reporting.report import Picture
from tasks.media.segments.source import load_survey
from tasks.restoration.comparison import cut_pieces
from tasks.restoration.comparison_stage import SHEET, ComparisonStage, make_comparison_item
from tasks.restoration.diagnosis_stage import (
    DiagnosedTape,
    DiagnosisParams,
    DiagnosisStage,
    list_diagnosis_items,
    read_diagnosed,
)
from tasks.restoration.engines.choice import Engines
from tasks.restoration.gallery import describe_diagnosis
from tasks.restoration.options import TapeOptions
from tasks.restoration.planning import PlannedTape, Recipe, plan_tape, restrict_to_pieces
from tasks.restoration.segment_stage import SegmentStage, estimate_segment_needs, list_segment_items
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
    measured = run.stage(DiagnosisStage(DiagnosisParams()), list_diagnosis_items([tape], folder))
    record = next(measured.records(), None)
    if record is None:
        return run.finish()
    diagnosis = read_diagnosed(tape, folder, record.detail, record.outputs[0].sha256)
    plans = [_plan(diagnosis, option, recipe, run.output_dir) for option in options]
    plans = _cut(plans, get_published_file(run.output_dir, diagnosis.survey), pieces, piece_seconds)
    stage = SegmentStage(engines.by_name, estimate_segment_needs([plan.work for plan in plans], engines))
    restored = run.stage(stage, [item for plan in plans for item in list_segment_items(plan)], prune=True)
    if restored.complete and not any(restored.outcomes.failed()):
        run.stage(ComparisonStage(), [_comparison_item(plans, restored)])
        run.pictures.append(_picture(diagnosis, run.output_dir))
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


def _comparison_item(plans: list[PlannedTape], restored: StageRun) -> Item:
    costs, digests = dict[str, float](), dict[str, str]()
    for record in restored.records():
        for output in record.outputs:
            costs[output.path], digests[output.path] = record.usage.cpu_seconds, output.sha256
    return make_comparison_item(plans, costs, digests)


def _picture(diagnosis: DiagnosedTape, output_dir: Path) -> Picture:
    caption = "; ".join(describe_diagnosis(diagnosis.diagnosis))
    return Picture(diagnosis.tape.path, caption, (output_dir / SHEET).read_bytes())
