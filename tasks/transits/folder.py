"""A folder of light curves: which files there are, and which star each of them is of."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import InputFolder
from tasks.media.kinds import LIGHT_CURVES
from tasks.media.scan import files_below, nothing_found, scan_folder

_PACKED = ".gz"
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
_NUMBERED = re.compile(
    r"(?P<catalogue>TIC|KIC|EPIC|kplr|ktwo)[\s_:-]*0*(?P<star>\d{1,16})(?![0-9A-Za-z])", re.IGNORECASE | re.ASCII
)
_PREFIXES = {"KPLR": "KIC", "KTWO": "EPIC"}
_PART = re.compile(
    r"(?:^|[\s_-])(?P<word>s|q|c|sector|quarter|campaign|part)[\s_-]?(?P<part>\d{1,4})$", re.IGNORECASE | re.ASCII
)
# Only these say beyond doubt that a file is a part of a star: cluster_s1 and cluster_s2 may be two stars of a cluster.
_PART_WORDS = frozenset({"sector", "quarter", "campaign"})


@dataclass(frozen=True)
class FoundFile:
    """One light curve in a folder.

    path   relative to the folder, forward slashes
    star   its star: a catalogue name such as ``TIC 25155310``, or a name made of the path that no other star has
    part   the sector or campaign that its name says, if it does
    short  its star without the folder, which other stars may be called, too
    base   its star without the part, if its name may have one: only a table of targets decides that it is the star's
    refusal  why the file cannot be used, if a scan of the folder says so
    """

    path: str
    star: str
    part: int | None = None
    short: str = field(default="", compare=False)
    base: str = field(default="", compare=False)
    refusal: str = ""


@dataclass(frozen=True)
class _Own:
    """A file with a name of the user's. ``forms`` are names for its star, the best first; the last is its own."""

    file: FoundFile
    forms: tuple[str, ...]


def catalogue_name(text: str) -> str | None:
    """``TIC 25155310``, ``KIC 6850504`` or ``EPIC 206103150`` for any way of writing it; None for all else."""
    found = _NUMBERED.fullmatch(text.strip())
    return _catalogued(found["catalogue"], found["star"]) if found else None


def star_key(name: str) -> str:
    """Return what a target and a file of the same star have in common: blanks, ``_`` and ``-`` are one, case is none.

    Different stars may share a key, so it only finds candidates.
    """
    return re.sub(r"[\s_-]+", "_", name.strip()).casefold()


def find_light_curves(folder: InputFolder, notes: list[str]) -> tuple[list[FoundFile], list[Problem]]:
    """Return every light curve in ``folder``, sorted by path, and what forbids a run.

    ``notes`` gets a line about what is not read. A folder without light curves is a problem.
    """
    tree = scan_folder(folder, LIGHT_CURVES)
    files = dict(files_below(tree.root))
    others = [path for path in files if _is_other_product(path)]
    found = [replace(file, refusal=files[file.path].refusal) for file in name_stars(files.keys() - set(others))]
    notes += tree.notes()
    if others:
        notes.append(f"{tree.where}: not read, because no light curves: {len(others)} other products of the archives")
    problems = list(tree.problems)
    return found, problems if found or problems else [nothing_found(tree, folder.option, LIGHT_CURVES)]


def name_stars(paths: Iterable[str]) -> list[FoundFile]:
    """Return the files at ``paths`` with their stars, sorted by path.

    Files share a star only if their names have the same catalogue number, or are parts (``x_sector_1``) of one name.
    """
    return _named_apart([_found(path) for path in sorted(paths)])


def _named_apart(found: Sequence[FoundFile | _Own]) -> list[FoundFile]:
    """Give the stars of files with names of the user's own the shortest name that no other star has."""
    stars = {file.forms for file in found if isinstance(file, _Own)}
    taken = Counter(form for forms in stars for form in dict.fromkeys(forms))
    taken.update({file.star for file in found if isinstance(file, FoundFile)})
    return [file if isinstance(file, FoundFile) else _with_name(file, taken) for file in found]


def _with_name(own: _Own, taken: Mapping[str, int]) -> FoundFile:
    return replace(own.file, star=next((form for form in own.forms if taken[form] == 1), own.forms[-1]))


def _is_other_product(path: str) -> bool:
    """Return True if the name is that of something else that the archives store."""
    return _OTHER_PRODUCT.fullmatch(_unpacked_name(path).rpartition("/")[2]) is not None


def _unpacked_name(path: str) -> str:
    return path[: -len(_PACKED)] if path.lower().endswith(_PACKED) else path


def _found(path: str) -> FoundFile | _Own:
    """Which star the file is of."""
    name = _unpacked_name(path).rpartition("/")[2]
    for catalogue, pattern in _ARCHIVE:
        if found := pattern.fullmatch(name):
            part = found.groupdict().get("part")
            return _of_catalogue(path, _catalogued(catalogue, found["star"]), int(part) if part else None)
    return _named(path)


def _named(path: str) -> FoundFile | _Own:
    """A file with a name of the user's: the catalogue number in it or in its folder's, else a star of its own."""
    parts = PurePosixPath(_unpacked_name(path))
    stem, folder = parts.stem, parts.parent.name
    part = _PART.search(stem)
    number = int(part["part"]) if part else None
    if numbered := _NUMBERED.match(stem):
        return _of_catalogue(path, _catalogued(numbered["catalogue"], numbered["star"]), number)
    if folder and (catalogued := catalogue_name(folder)):
        return _of_catalogue(path, catalogued, number)
    base = (stem[: part.start()] if part else "") or (folder if part or stem.isdecimal() else "")
    is_part = part is not None and part["word"].lower() in _PART_WORDS and bool(base)
    forms = _part_forms(parts, part.start()) if part and is_part else _file_forms(parts, path, bool(base))
    return _Own(FoundFile(path, "", number, base if is_part else stem, base), forms)


def _of_catalogue(path: str, star: str, part: int | None) -> FoundFile:
    return FoundFile(path, star, part, star)


def _part_forms(path: PurePosixPath, end: int) -> tuple[str, ...]:
    """Names for the star of which a file is a part: the name before the part, or else the folder."""
    base = path.stem[:end]
    whole = str(path.parent / base) if base else str(path.parent)
    return base or path.parent.name, whole, f"{whole}/"


def _file_forms(path: PurePosixPath, given: str, may_be_part: bool) -> tuple[str, ...]:
    """Names for the star of one file, at ``given``. ``1`` or ``s01`` alone name none: the folder comes first."""
    is_bare = may_be_part and (path.stem.isdecimal() or _PART.fullmatch(path.stem) is not None)
    whole = str(path.parent / path.stem)
    return (whole if is_bare else path.stem), whole, given


def _catalogued(catalogue: str, number: str) -> str:
    prefix = catalogue.upper()
    return f"{_PREFIXES.get(prefix, prefix)} {int(number)}"
