"""The public interface for authors of stages and flows.

    from tasks.api import BadInput, Item, NoParams, Stage, StageResult, Steps, Workspace, batch_flow, make_distinct_ids

``docs/custom_stage.md`` shows a complete stage and flow. Other modules are internal and may change between releases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tasks.engine.contract.errors import (
    BadInput,
    HeadraceError,
    InvalidInput,
    ItemError,
    OutputBlocked,
    Problem,
    RunError,
    TransientError,
)
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item, make_distinct_ids
from tasks.engine.contract.stage import Needs, NoParams, Stage, StageResult, Workspace, get_published_file
from tasks.engine.planning.graph import Done, Graph, Node, Whole
from tasks.launcher.batch_flow import Steps, batch_flow

if TYPE_CHECKING:
    from tasks.batch import BatchRun, batch_run

__all__ = [
    "BadInput",
    "BatchRun",
    "Done",
    "Execution",
    "Graph",
    "HeadraceError",
    "InvalidInput",
    "Item",
    "ItemError",
    "Needs",
    "NoParams",
    "Node",
    "OutputBlocked",
    "Problem",
    "RunError",
    "Stage",
    "StageResult",
    "Steps",
    "TransientError",
    "Whole",
    "Workspace",
    "batch_flow",
    "batch_run",
    "get_published_file",
    "make_distinct_ids",
]


def __getattr__(name: str) -> Any:
    """Import the names that need Prefect only when they are used: child processes do not need it."""
    if name in ("BatchRun", "batch_run"):
        import tasks.batch

        return getattr(tasks.batch, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
