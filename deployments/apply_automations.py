"""Create or update the automations in ``automations/``: ``python deployments/apply_automations.py``.

Notifications are applied only with ``--notify BLOCK``, which names a notification block, such as
``custom-webhook/headrace``. ``--window SECONDS`` changes the time after which a silent run has crashed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from deployments.problems import NO_SERVER
from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.launcher.terminal import print_problems

FOLDER = Path(__file__).resolve().parent / "automations"
_CRASHED, _NOTIFICATIONS = "crashed_runs.yaml", "notifications.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Apply the automations; return the exit code."""
    options = _parse(arguments)
    if not PREFECT_API_URL.value():
        return print_problems([NO_SERVER])
    with get_client(sync_client=True) as client:
        try:
            automations = build_automations(client, options.notify, options.window)
        except InvalidInput as error:
            return print_problems(error.problems)
        for automation in automations:
            print(f"{apply(client, automation)}: {automation.name}")
    return 0


def build_automations(client: SyncPrefectClient, block: str | None, window: int | None) -> list[AutomationCore]:
    """Return the automations in the files; without ``block``, no notifications. Raises InvalidInput."""
    crashed = read_automation(_CRASHED)
    if window is not None:
        crashed["trigger"]["within"] = window
    found = [crashed]
    if block is not None:
        notifications = read_automation(_NOTIFICATIONS)
        for action in notifications["actions"]:
            action.pop("block")
            action["block_document_id"] = _find_block(client, block)
        found.append(notifications)
    return [AutomationCore.model_validate(content) for content in found]


def read_automation(name: str) -> dict[str, Any]:
    """Return the content of a file in ``automations/``."""
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    return content


def apply(client: SyncPrefectClient, automation: AutomationCore) -> str:
    """Create ``automation``, or update the one of the same name; return which of them was done."""
    existing = client.read_automations_by_name(automation.name)
    if not existing:
        client.create_automation(automation)
        return "created"
    client.update_automation(existing[0].id, automation)
    return "updated"


def _find_block(client: SyncPrefectClient, block: str) -> str:
    kind, _, name = block.partition("/")
    try:
        return str(client.read_block_document_by_name(name, kind).id)
    except ObjectNotFound:
        given, allowed = (
            f"{block!r} does not exist",
            "TYPE/NAME of a notification block, as listed by `prefect block ls`",
        )
        advice = "create it first, see docs/operations.md"
        raise InvalidInput([Problem("--notify", given, allowed, advice)]) from None


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Create or update Headrace's automations on the Prefect server.")
    parser.add_argument("--notify", metavar="TYPE/NAME", help="notification block, such as slack-webhook/headrace")
    parser.add_argument("--window", type=int, help="seconds without a heartbeat after which a run has crashed")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
