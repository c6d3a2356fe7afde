"""Runs that lost their process: when the worker is dead, they are scheduled again and continue where they stopped.

The pool of `headrace serve` has one worker, so without it no run of the pool has a process, whatever the server says.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from deployments.supervision.addresses import Api

_ACTIVE = ["RUNNING", "PENDING", "CANCELLING"]
_PAGE = 200  # runs per call, the maximum of the server
_MAX_STARTS = 5  # a run that ends its worker again and again is not started once more
_SECONDS = 30.0


def continue_lost_runs(api: Api, pool: str) -> list[str]:
    """Schedule the runs of ``pool`` that have no process; return a line for each. Raises httpx.HTTPError."""
    with httpx.Client(base_url=api.url, auth=api.auth, timeout=_SECONDS, trust_env=False) as client:
        return [_settle(client, run) for run in list(_find_active(client, pool))]


def _find_active(client: httpx.Client, pool: str) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        answer = client.post(
            "/flow_runs/filter",
            json={
                "work_pools": {"name": {"any_": [pool]}},
                "flow_runs": {"state": {"type": {"any_": _ACTIVE}}},
                "sort": "ID_DESC",
                "limit": _PAGE,
                "offset": offset,
            },
        )
        page = answer.raise_for_status().json()
        yield from page
        offset += _PAGE
        if len(page) < _PAGE:
            return


def _settle(client: httpx.Client, run: dict[str, Any]) -> str:
    """Give a run without a process the state that follows; return a line about it."""
    state, line = _choose_state(run)
    # Without force, the server would not let a run that was never seen to end be scheduled.
    answer = client.post(f"/flow_runs/{run['id']}/set_state", json={"state": state, "force": True})
    answer.raise_for_status()
    return f"the run {run['name']} {line}"


def _choose_state(run: dict[str, Any]) -> tuple[dict[str, Any], str]:
    if run["state"]["type"] == "CANCELLING":
        return {"type": "CANCELLED", "message": "The run was being cancelled when its worker ended."}, "is cancelled"
    if run["run_count"] >= _MAX_STARTS:
        message = f"The worker ended during each of {run['run_count']} starts of this run. Retry starts it once more."
        return {"type": "CRASHED", "message": message}, f"crashed {run['run_count']} times and is not started again"
    state = {
        "type": "SCHEDULED",
        "name": "AwaitingRetry",
        "message": "The worker ended. The run continues; finished items are kept.",
        "state_details": {"scheduled_time": datetime.now(UTC).isoformat()},
    }
    return state, "continues"
