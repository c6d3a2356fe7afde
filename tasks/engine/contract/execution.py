"""The options that every flow shares."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field

Order = Literal["heaviest", "manifest", "lightest"]
Identity = Literal["stat", "content"]
Verify = Literal["size", "digest"]


class Execution(BaseModel):
    """How a run is carried out. Nothing in here changes a result, so nothing in here enters a key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    workers: Annotated[int | None, Field(ge=1, description="Slots; by default sized to the host")] = None
    memory_per_item: Annotated[
        ByteSize | None, Field(description="Memory that an item may use, such as 2GiB; by default the slot's share")
    ] = None
    shard_seconds: Annotated[float, Field(gt=0, description="Length of a shard, in seconds")] = 20.0
    shard_size: Annotated[int | None, Field(ge=1, description="Items a shard, instead of its length")] = None
    timeout: Annotated[
        float | None, Field(gt=0, description="Seconds that an item may take; by default the stage's")
    ] = None
    retries: Annotated[int, Field(ge=0, le=20, description="Further tries of an item whose failure may pass")] = 1
    max_items: Annotated[int | None, Field(ge=1, description="Run at most so many items that are not yet done")] = None
    order: Annotated[Order, Field(description="Which items come first, by predicted cost")] = "heaviest"
    priority: Annotated[str | None, Field(description="Manifest column; items with larger values come first")] = None
    dry_run: Annotated[bool, Field(description="Plan and predict time, memory and disk; leave nothing behind")] = False
    refresh: Annotated[bool, Field(description="Ignore the records: run every item again")] = False
    keep_failed: Annotated[bool, Field(description="Do not try again what failed in an earlier run")] = False
    max_failed: Annotated[float, Field(ge=0, le=1, description="Share of failed items above which the run fails")] = 1.0
    identity: Annotated[Identity, Field(description="Know an input by its size and time, or by its content")] = "stat"
    verify: Annotated[Verify, Field(description="Trust an output by its size, or by its digest")] = "size"
    stage_inputs: Annotated[bool, Field(description="Copy inputs to local scratch first")] = False
    scheduler: Annotated[str | None, Field(description="Address of a Dask scheduler to use instead of a local one")] = (
        None
    )
