"""The options that all flows share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field

Order = Literal["heaviest", "manifest", "lightest"]
Identity = Literal["stat", "content"]
Verify = Literal["size", "digest"]


class Execution(BaseModel):
    """Execution options. None of them affects results, so none is part of an item's key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: Annotated[int | None, Field(ge=1, description="Number of slots (default: chosen for this host)")] = None
    memory_per_item: Annotated[
        ByteSize | None, Field(description="Memory limit per item, for example 2GiB (default: an equal share)")
    ] = None
    shard_seconds: Annotated[float, Field(gt=0, description="Target duration of a shard, in seconds")] = 20.0
    shard_size: Annotated[int | None, Field(ge=1, description="Items per shard, instead of a target duration")] = None
    timeout: Annotated[
        float | None, Field(gt=0, description="Time limit per item, in seconds (default: the stage's)")
    ] = None
    retries: Annotated[int, Field(ge=0, le=20, description="Retries for transient failures")] = 1
    max_items: Annotated[int | None, Field(ge=1, description="Run at most this many pending items")] = None
    order: Annotated[Order, Field(description="Which items run first, by predicted cost")] = "heaviest"
    priority: Annotated[str | None, Field(description="Manifest column; items with larger values run first")] = None
    dry_run: Annotated[bool, Field(description="Predict time, memory and disk from a few items; keep nothing")] = False
    refresh: Annotated[bool, Field(description="Run every item again, also those that are done")] = False
    keep_failed: Annotated[bool, Field(description="Do not retry items that failed in an earlier run")] = False
    max_failed: Annotated[float, Field(ge=0, le=1, description="Share of failed items above which the run fails")] = 1.0
    identity: Annotated[
        Identity, Field(description="How to detect changed inputs: size and mtime (stat), or a content hash")
    ] = "stat"
    verify: Annotated[Verify, Field(description="How to check the outputs of finished items: size or digest")] = "size"
    stage_inputs: Annotated[bool, Field(description="Copy inputs to local scratch first")] = False
    scheduler: Annotated[str | None, Field(description="Address of a Dask scheduler (default: a local one)")] = None
