"""Stages of landmark-extraction: the landmarks of each sample, then the files of each split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from prefect.client.schemas.objects import State

from tasks.batch import BatchRun
from tasks.engine.store.outcomes import Outcome
from tasks.landmarks.layouts.collection import Collection, Sample
from tasks.landmarks.models.store import Model
from tasks.landmarks.params import LandmarkParams
from tasks.landmarks.pictures import PreviewRow, best_and_worst
from tasks.landmarks.samples import plan_samples
from tasks.landmarks.splits import SampleAccount, write_split_files
from tasks.landmarks.stage import LandmarksStage, preview_path


def extract_landmarks(
    run: BatchRun, collection: Collection, params: LandmarkParams, model: Model, rescue: Model | None
) -> State[Any]:
    """Extract the landmarks of every sample and write the files of each split. ``rescue``: model for lost hands."""
    stage = LandmarksStage(params, model, rescue)
    outcomes = run.stage(stage, plan_samples(collection)).outcomes
    accounts = _collect_accounts(collection.samples, outcomes, run.run_id)
    run.pictures += best_and_worst([_preview_row(account) for account in accounts if account.values], run.output_dir)
    state = run.finish()
    if run.summary:
        slots, seconds = run.summary.slots, run.summary.wall_seconds
        write_split_files(run.output_dir, accounts, slots, seconds, stage.model_digests())
    return state


def _collect_accounts(samples: Iterable[Sample], outcomes: Iterable[Outcome], run_id: str) -> list[SampleAccount]:
    """Return an account of each sample that has an outcome."""
    outcome_of = {outcome.id: outcome for outcome in outcomes}
    return [_account(sample, outcome_of[sample.id], run_id) for sample in samples if sample.id in outcome_of]


def _account(sample: Sample, outcome: Outcome, run_id: str) -> SampleAccount:
    is_done = outcome.outcome in ("done", "cached")
    ran = is_done or outcome.run_id == run_id  # a failure that --keep-failed keeps took its time in another run
    return SampleAccount(
        id=sample.id,
        split=sample.split,
        name=sample.name,
        outcome=outcome.outcome,
        annotation=sample.annotation,
        fields=sample.fields,
        failure_kind=outcome.failure_kind,
        message=outcome.message or None,
        attempts=outcome.attempts,
        seconds=outcome.usage.seconds if ran else None,
        cpu_seconds=outcome.usage.cpu_seconds if ran else None,
        values=outcome.values if is_done else None,
        outputs=outcome.outputs,
        title=sample.title,
        path=sample.path,
    )


def _preview_row(account: SampleAccount) -> PreviewRow:
    values: Mapping[str, Any] = account.values or {}
    path = preview_path(account.split, account.name)
    return PreviewRow(account.title or account.name, account.split, values, values["frames"], path)
