"""The graph of landmark-extraction: the landmarks of each sample; then the files of each split are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun
from tasks.engine.planning.graph import Graph
from tasks.engine.store.outcomes import Outcome
from tasks.landmarks.contact_sheets import PreviewRow, choose_previews
from tasks.landmarks.layouts.collection import Collection, Sample
from tasks.landmarks.models.store import Model
from tasks.landmarks.params import LandmarkParams
from tasks.landmarks.samples import plan_samples
from tasks.landmarks.splits import SampleResult, write_split_files
from tasks.landmarks.stage import LandmarksStage, build_preview_path


def extract_landmarks(
    run: BatchRun, collection: Collection, params: LandmarkParams, model: Model, rescue: Model | None
) -> State[Any]:
    """Extract the landmarks of every sample and write the files of each split. ``rescue``: model for lost hands."""
    stage = LandmarksStage(params, model, rescue)
    graph = Graph()
    extracted = graph.node(stage, plan_samples(collection))
    run.execute(graph)
    outcomes = run.get_outcomes(extracted)
    results = _collect_results(collection.samples, outcomes, run.run_id)
    run.pictures += choose_previews([_create_preview(result) for result in results if result.values], run.output_dir)
    state = run.finish()
    if run.summary:
        slots, seconds = run.summary.slots, run.summary.wall_seconds
        write_split_files(run.output_dir, results, slots, seconds, stage.list_model_digests())
    return state


def _collect_results(samples: Iterable[Sample], outcomes: Iterable[Outcome], run_id: str) -> list[SampleResult]:
    """Return the result of each sample that has an outcome."""
    outcome_of = {outcome.id: outcome for outcome in outcomes}
    return [_create_result(sample, outcome_of[sample.id], run_id) for sample in samples if sample.id in outcome_of]


def _create_result(sample: Sample, outcome: Outcome, run_id: str) -> SampleResult:
    is_done = outcome.outcome in ("done", "cached")
    has_run_here = is_done or outcome.run_id == run_id  # a failure kept by --keep-failed ran earlier
    return SampleResult(
        id=sample.id,
        split=sample.split,
        name=sample.name,
        outcome=outcome.outcome,
        annotation=sample.annotation,
        fields=sample.fields,
        failure_kind=outcome.failure_kind,
        message=outcome.message or None,
        attempts=outcome.attempts,
        seconds=outcome.usage.seconds if has_run_here else None,
        cpu_seconds=outcome.usage.cpu_seconds if has_run_here else None,
        values=outcome.values if is_done else None,
        outputs=outcome.outputs,
        title=sample.title,
        path=sample.path,
    )


def _create_preview(result: SampleResult) -> PreviewRow:
    values: Mapping[str, Any] = result.values or {}
    path = build_preview_path(result.split, result.name)
    return PreviewRow(result.title or result.name, result.split, values, values["frames"], path)
