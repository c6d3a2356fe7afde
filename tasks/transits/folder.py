"""A folder of light curves: which files there are, and which star each of them is of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

SUFFIXES = (".fits", ".fit", ".csv", ".tsv")
CATALOGUES = {"TIC": "TESS", "KIC": "Kepler", "EPIC": "K2"}
# The archives' names of light curves, with the star's number and, but for Kepler, the segment's:
# Kepler Archive Manual 2.1, K2 Handbook 4, TESS Data Products 3, and the descriptions of the HLSP at MAST.
_ARCHIVE = (
    ("KIC", re.compile(r"kplr(?P<star>\d{9})-\d{13}_[ls]lc\.fits")),
    ("EPIC", re.compile(r"ktwo(?P<star>\d{9})-c(?P<part>\d{2,3})_[ls]lc\.fits")),
    ("TIC", re.compile(r"tess\d{13}-s(?P<part>\d{4})-(?P<star>\d{16})-\d{4}-[a-z]_(?:fast-)?lc\.fits")),
    ("TIC", re.compile(r"hlsp_[a-z0-9-]+_tess_\w+?_s(?P<part>\d{4})-(?P<star>\d{16})_\w+_v[\w.]+_ll?c\.fits")),
    ("TIC", re.compile(r"hlsp_[a-z0-9-]+_tess_\w+?_(?P<star>\d{16})-s(?P<part>\d{4})_\w+_v[\w.]+_ll?c\.fits")),
    ("EPIC", re.compile(r"hlsp_[a-z0-9-]+_k2_\w+?_(?P<star>\d{9})-c(?P<part>\d{2,3})_\w+_v[\w.]+_ll?c\.fits")),
)
# What the archives store beside light curves; no light curve is in it, so it is no failure either.
_OTHER_PRODUCT = re.compile(
    r"(?:kplr|ktwo|tess)\d+.*_(?:lpd-targ|spd-targ|tp|fast-tp|dvt|dvr|dvs|ffic?|ffir|xrp)\.fits"
)
_NUMBERED = re.compile(r"(?P<catalogue>TIC|KIC|EPIC|kplr|ktwo)[\s_:-]*0*(?P<star>\d{1,16})(?!\d)", re.IGNORECASE)
_PREFIXES = {"KPLR": "KIC", "KTWO": "EPIC"}
_PART = re.compile(r"(?:^|[\s_-])(?:s|q|c|sector|quarter|campaign|part)[\s_-]?(?P<part>\d{1,4})$", re.IGNORECASE)
_MAX_DEPTH = 20


@dataclass(frozen=True)
class FoundFile:
    """One light curve in a folder.

    path  relative to the folder, forward slashes
    star  its star: a catalogue name such as ``TIC 25155310``, or what the file (or its folder) is called
    part  the sector or campaign that its name says, if it does
    """

    path: str
    star: str
    part: int | None = None


def catalogue_name(text: str) -> str | None:
    """``TIC 25155310``, ``KIC 6850504`` or ``EPIC 206103150`` for any way of writing it; None for all else."""
    found = _NUMBERED.fullmatch(text.strip())
    return _catalogued(found["catalogue"], found["star"]) if found else None


def star_key(name: str) -> str:
    """What two ways of writing the name of one star have in common: no blanks, ``_`` and ``-``, no capitals."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def find_light_curves(root: str) -> list[FoundFile]:
    """Every light curve under ``root``, sorted by path. Hidden ones are passed over, links to folders not followed."""
    files = (_found(path) for path in sorted(_paths(root, "", 0)))
    return [file for file in files if file is not None]


def _paths(root: str, within: str, depth: int) -> Iterator[str]:
    """Relative paths of the files whose suffix is right."""
    with os.scandir(f"{root}/{within}") as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path = f"{within}/{entry.name}" if within else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _paths(root, path, depth + 1) if depth < _MAX_DEPTH else ()
            elif entry.name.lower().endswith(SUFFIXES):
                yield path


def _found(path: str) -> FoundFile | None:
    """Which star the file is of; None for what its name says to be no light curve."""
    name = path.rpartition("/")[2]
    for catalogue, pattern in _ARCHIVE:
        if found := pattern.fullmatch(name):
            part = found.groupdict().get("part")
            return FoundFile(path, _catalogued(catalogue, found["star"]), int(part) if part else None)
    return None if _OTHER_PRODUCT.fullmatch(name) else _named(path)


def _named(path: str) -> FoundFile:
    """A file with a name of the user's: the star in it, else the folder's where the name is but a number of a part."""
    parts = PurePosixPath(path)
    stem, folder = parts.stem, parts.parent.name
    part = _PART.search(stem)
    number = int(part["part"]) if part else None
    if numbered := _NUMBERED.match(stem):
        return FoundFile(path, _catalogued(numbered["catalogue"], numbered["star"]), number)
    if folder and (catalogued := catalogue_name(folder)):
        return FoundFile(path, catalogued, number)
    name = stem[: part.start()] if part else stem
    return FoundFile(path, (name or folder or stem) if not stem.isdecimal() else (folder or stem), number)


def _catalogued(catalogue: str, number: str) -> str:
    prefix = catalogue.upper()
    return f"{_PREFIXES.get(prefix, prefix)} {int(number)}"
