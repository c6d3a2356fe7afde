"""Detect inputs that change between planning and the end of their item.

The key of an item is computed at planning. If an input changes afterwards and is restored later, a result from the
other bytes would count as done forever. Therefore the inputs must be unchanged from planning until the item ends.
"""

from __future__ import annotations

import os

from tasks.engine.contract.execution import Identity
from tasks.engine.contract.stage import Stage
from tasks.engine.planning.identity import compute_item_key, compute_stage_digest, read_input_states
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.messages import Failed
from tasks.engine.store.outcomes import Usage

_AFTER_PLAN = "changed after the run was planned; give the same command again"
_GONE = "has vanished; bring it back, then give the same command again"
_MEANWHILE = "changed while the item was processed; give the same command again once nothing writes to it"


def find_change_since_plan(
    planned: PlannedItem, states: tuple[str, ...], stage: Stage, identity: Identity
) -> Failed | None:
    """Return a failure if the inputs changed since planning, else None; ``states`` are the current states.

    If an input was touched, only its content shows that it is unchanged: size and mtime may have been restored.
    Untouched inputs are not read again.
    """
    if planned.states in ((), states):
        return None
    if identity == "content" and compute_item_key(compute_stage_digest(stage), planned.item, identity) == planned.key:
        return None
    if missing := [path for path in planned.item.inputs if not os.path.lexists(path)]:
        return Failed("bad_input", f"its input {missing[0]} {_GONE}", Usage())
    return Failed("error", _describe_change(planned, planned.states, states, _AFTER_PLAN), Usage())


def find_change_since_start(planned: PlannedItem, states: tuple[str, ...]) -> str:
    """Return a message if an input was touched since its states were ``states``, else an empty string."""
    now = read_input_states(planned.item)
    return "" if now == states else _describe_change(planned, states, now, _MEANWHILE)


def _describe_change(planned: PlannedItem, before: tuple[str, ...], after: tuple[str, ...], what: str) -> str:
    changed = next(path for path, *both in zip(planned.item.inputs, before, after, strict=True) if both[0] != both[1])
    return f"its input {changed} {what}"
