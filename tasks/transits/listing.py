"""The light curves of a folder by star, and the files of a target among them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import InputFolder
from tasks.engine.contract.text import showable
from tasks.transits.folder import ListedFile, find_light_curves, make_star_key
from tasks.transits.target import Target


@dataclass(frozen=True)
class Listing:
    """The light curves of the folder, in order of path, and the same by star."""

    files: tuple[ListedFile, ...] = ()
    by_star: Mapping[str, Sequence[ListedFile]] = field(default_factory=dict)
    root: Path = Path()

    def get_paths(self, files: Iterable[ListedFile]) -> tuple[str, ...]:
        return tuple(str(self.root / file.path) for file in files)

    @cached_property
    def _by_key(self) -> Mapping[str, Sequence[ListedFile]]:
        """Return files by the key of their star's short name."""
        return _group_files((make_star_key(file.short), file) for file in self.files)

    @cached_property
    def _by_base(self) -> Mapping[str, Sequence[ListedFile]]:
        """Return files by the key of their star's name without the part."""
        return _group_files((make_star_key(file.base), file) for file in self.files if file.base)

    def find_star(self, name: str, claimed: Collection[str]) -> Sequence[ListedFile]:
        """Return the files of the star ``name``. Raises ValueError if they may be of different stars.

        ``claimed`` are stars that other rows name exactly; their files are excluded.
        """
        if name in self.by_star:
            return self.by_star[name]
        key = make_star_key(name)
        for files, group in ((self._by_key, _get_star), (self._by_base, _get_base)):
            free = [file for file in files.get(key, ()) if file.star not in claimed]
            if len({group(file) for file in free}) > 1:
                raise ValueError(", ".join(file.path for file in free[:3]))
            if free:
                return free
        return []


def _group_files(pairs: Iterable[tuple[str, ListedFile]]) -> Mapping[str, Sequence[ListedFile]]:
    groups: dict[str, list[ListedFile]] = defaultdict(list)
    for key, file in pairs:
        groups[key].append(file)
    return groups


def _get_star(file: ListedFile) -> str:
    return file.star


def _get_base(file: ListedFile) -> str:
    return f"{PurePosixPath(file.path).parent}/{file.base}"


def list_folder(folder: InputFolder, notes: list[str]) -> tuple[Listing, list[Problem]]:
    """List the folder, with a problem for each rejected file, or for a folder without light curves."""
    curves, problems = find_light_curves(folder, notes)
    by_star: dict[str, list[ListedFile]] = {}
    for file in curves:
        by_star.setdefault(file.star, []).append(file)
    return Listing(tuple(curves), by_star, folder.root), problems


def add_files(target: Target, files: Sequence[ListedFile], listing: Listing) -> Target:
    """Return the target with its files; without files but with the reason if one of them is rejected."""
    paths = tuple(showable(file.path) for file in files)
    refusal = next((file.refusal for file in files if file.refusal), "")
    return replace(target, files=() if refusal else listing.get_paths(files), paths=paths, refusal=refusal)
