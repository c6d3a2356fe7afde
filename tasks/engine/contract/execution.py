"""The options that all flows share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, WithJsonSchema

from tasks.engine.contract.part import Part, check_part, parse_part

Order = Literal["heaviest", "manifest", "lightest"]
Identity = Literal["stat", "content"]
Verify = Literal["size", "digest"]
# Pydantic's own pattern accepts any unit.
Bytes = Annotated[
    ByteSize,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\s*([0-9]*\.)?[0-9]+\s*([kKmMgGtTpPeE][iI]?)?[bB]?\s*$"},
                {"type": "integer", "minimum": 0},
            ]
        }
    ),
]
PartOption = Annotated[
    str,
    AfterValidator(check_part),
    WithJsonSchema({"type": "string", "pattern": "^[1-9][0-9]{0,3}/[1-9][0-9]{0,3}$"}),
]
Scheduler = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"^\s*([a-z]+://)?[^\s/]+:[0-9]{1,5}\s*$"})]


def _number_fields(schema: dict[str, Any]) -> None:
    """Set the positions of the fields in Prefect's form: databases do not keep the order of keys."""
    for position, field in enumerate(schema["properties"].values()):
        field["position"] = position


class Execution(BaseModel):
    """Execution options. None of them affects results, so none is part of an item's key.

    The order of the fields is that of ``--help`` and of Prefect's form: often changed first, technical last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_number_fields)

    dry_run: Annotated[
        bool, Field(title="Dry run", description="Predict time, memory and disk from a few items; keep nothing")
    ] = False
    explain: Annotated[
        str | None,
        Field(
            min_length=1,
            title="Explain an item",
            description="Say why the item with this ID or name would run, or not; run nothing",
        ),
    ] = None
    max_items: Annotated[
        int | None, Field(ge=1, title="Maximum items", description="Run at most this many pending items")
    ] = None
    part: Annotated[
        PartOption | None,
        Field(
            title="Part of the items (such as 2/4)",
            description="Run only part K of N, in its own folder; for several runs over one manifest",
        ),
    ] = None
    timeout: Annotated[
        float | None,
        Field(
            gt=0, title="Time limit per item (s)", description="Time limit per item, in seconds (default: the stage's)"
        ),
    ] = None
    retries: Annotated[int, Field(ge=0, le=20, title="Retries", description="Retries for transient failures")] = 1
    refresh: Annotated[
        bool, Field(title="Run done items again", description="Run every item again, also those that are done")
    ] = False
    keep_failed: Annotated[
        bool, Field(title="Keep failed items", description="Do not retry items that failed in an earlier run")
    ] = False
    max_failed: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            title="Maximum share of failed items (0 to 1)",
            description="Share of failed items above which the run fails",
        ),
    ] = 1.0
    workers: Annotated[
        int | None,
        Field(ge=1, title="Slots (items at a time)", description="Number of slots (default: chosen for this host)"),
    ] = None
    io_slots: Annotated[
        int,
        Field(ge=1, le=256, title="Slots for downloads", description="Number of slots for downloads and uploads"),
    ] = 8
    memory_per_item: Annotated[
        Bytes | None,
        Field(
            title="Memory per item (such as 2GiB)",
            description="Memory limit per item, for example 2GiB (default: an equal share)",
        ),
    ] = None
    order: Annotated[Order, Field(title="Order", description="Which items run first, by predicted cost")] = "heaviest"
    priority: Annotated[
        str | None,
        Field(min_length=1, title="Priority column", description="Manifest column; items with larger values run first"),
    ] = None
    identity: Annotated[
        Identity,
        Field(
            title="Detection of changed inputs",
            description="How to detect changed inputs: size and mtime (stat), or a content hash",
        ),
    ] = "stat"
    verify: Annotated[
        Verify,
        Field(
            title="Check of finished outputs", description="How to check the outputs of finished items: size or digest"
        ),
    ] = "size"
    stage_inputs: Annotated[
        bool, Field(title="Copy inputs to scratch", description="Copy inputs to local scratch first")
    ] = False
    shard_seconds: Annotated[
        float, Field(gt=0, title="Duration of a shard (s)", description="Target duration of a shard, in seconds")
    ] = 20.0
    shard_size: Annotated[
        int | None, Field(ge=1, title="Items per shard", description="Items per shard, instead of a target duration")
    ] = None
    scheduler: Annotated[
        Scheduler | None,
        Field(
            title="Dask scheduler (tcp://HOST:PORT)", description="Address of a Dask scheduler (default: a local one)"
        ),
    ] = None
    cluster: Annotated[
        Path | None,
        Field(title="Cluster file", description="TOML file of a cluster that runs the items, see docs/clusters.md"),
    ] = None

    @property
    def chosen_part(self) -> Part | None:
        """The part of the items that this run takes; None for all."""
        return parse_part(self.part) if self.part else None

    @property
    def is_dry(self) -> bool:
        """True if nothing is run into the output folder."""
        return self.dry_run or self.explain is not None

    @property
    def is_elsewhere(self) -> bool:
        """True if a cluster runs the items."""
        return self.scheduler is not None or self.cluster is not None
