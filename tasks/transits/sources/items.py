"""Items of the fetching stage, and its results as targets for the search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import get_published_file
from tasks.transits.targets import Target


def make_fetch_items(targets: Iterable[Target]) -> list[Item]:
    """Make one item per target. Stellar parameters are not part of the key: the files do not depend on them."""
    return [
        Item(
            target.id,
            {"name": target.name, "mission": target.mission, "segments": list(target.segments)},
            cost=float(len(target.segments) or 1),
            fields=target.fields,
            name=target.name,
        )
        for target in targets
    ]


def add_files(targets: Iterable[Target], details: Mapping[str, Mapping[str, Any]], output_dir: Path) -> list[Target]:
    """Return the fetched targets with their files. ``details``: of the stage's records, by target id."""
    return [
        _add_products(target, details[target.id]["products"], output_dir.absolute())
        for target in targets
        if target.id in details
    ]


def _add_products(target: Target, products: Sequence[Mapping[str, Any]], output_dir: Path) -> Target:
    paths = sorted(product["path"] for product in products)
    try:
        files = tuple(str(get_published_file(output_dir, path)) for path in paths)
    except PermissionError as error:
        advice = "run again with --refresh"
        raise RunError(f"the record of {target.id} is forged: {error.filename} {error.strerror}; {advice}") from error
    return replace(target, files=files, paths=tuple(paths))
