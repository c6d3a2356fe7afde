"""Items of the fetching stage, and its results as targets for the search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tasks.engine.contract.items import Item
from tasks.transits.target import Download, Target


def make_fetch_items(targets: Iterable[Target]) -> list[Item]:
    """Make one item per target. Stellar parameters are not part of the key: the files do not depend on them."""
    return [
        Item(
            target.id,
            {"name": target.name, "mission": target.mission, "segments": list(target.segments)},
            cost=float(len(target.segments) or 1),
            fields=target.row_fields,
            name=target.name,
        )
        for target in targets
    ]


def add_products(target: Target, products: Sequence[Mapping[str, Any]]) -> Target:
    """Return ``target`` with its fetched files; ``products``: from the detail of the fetching stage's record."""
    files = [Download(product["path"], product["size_bytes"], product["sha256"]) for product in products]
    downloads = tuple(sorted(files, key=lambda file: file.path))
    return replace(target, downloads=downloads, paths=tuple(file.path for file in downloads))
