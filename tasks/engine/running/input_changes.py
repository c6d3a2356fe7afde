"""Notice that inputs change between the plan and the end of their item: its result would be that of other bytes.

The key of an item is made when the run is planned. If an input changes after that and is restored later, the result
of the other bytes would count as done for ever. So the inputs must be those of the plan when the item starts, and
nothing may touch them until it ends.
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
    """Return a failure if the inputs are not those of the plan, else None; ``states`` are those of now.

    If something has touched an input, only its content can tell that it is still the same: size and modification time
    may have been restored. Inputs that nothing has touched are not read again.
    """
    if planned.states in ((), states):
        return None
    if identity == "content" and compute_item_key(compute_stage_digest(stage), planned.item, identity) == planned.key:
        return None
    if missing := [path for path in planned.item.inputs if not os.path.lexists(path)]:
        return Failed("bad_input", f"its input {missing[0]} {_GONE}", Usage())
    return Failed("error", _describe_change(planned, planned.states, states, _AFTER_PLAN), Usage())


def find_change_since_start(planned: PlannedItem, states: tuple[str, ...]) -> str:
    """Return a message if anything has touched an input since its states were ``states``, else an empty string."""
    now = read_input_states(planned.item)
    return "" if now == states else _describe_change(planned, states, now, _MEANWHILE)


def _describe_change(planned: PlannedItem, before: tuple[str, ...], after: tuple[str, ...], what: str) -> str:
    changed = next(path for path, *both in zip(planned.item.inputs, before, after, strict=True) if both[0] != both[1])
    return f"its input {changed} {what}"
