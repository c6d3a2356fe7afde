"""Lists a folder of light curves, and identifies the star of each file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import InputFolder
from tasks.media.kinds import LIGHT_CURVES
from tasks.media.scan import list_files, make_no_files_problem, scan_folder

_PACKED = ".gz"
CATALOGUES = {"TIC": "TESS", "KIC": "Kepler", "EPIC": "K2"}
# The archives' names of light curves, with the number of the star and (except for Kepler) of the segment:
# Kepler Archive Manual 2.1, K2 Handbook 4, TESS Data Products 3, and the descriptions of the HLSP at MAST.
_ARCHIVE = (
    ("KIC", re.compile(r"kplr(?P<star>\d{9})-\d{13}_[ls]lc\.fits")),
    ("EPIC", re.compile(r"ktwo(?P<star>\d{9})-c(?P<part>\d{2,3})_[ls]lc\.fits")),
    ("TIC", re.compile(r"tess\d{13}-s(?P<part>\d{4})-(?P<star>\d{16})-\d{4}-[a-z]_(?:fast-)?lc\.fits")),
    ("TIC", re.compile(r"hlsp_[a-z0-9-]+_tess_\w+?_s(?P<part>\d{4})-(?P<star>\d{16})_\w+_v[\w.]+_ll?c\.fits")),
    ("TIC", re.compile(r"hlsp_[a-z0-9-]+_tess_\w+?_(?P<star>\d{16})-s(?P<part>\d{4})_\w+_v[\w.]+_ll?c\.fits")),
    ("TIC", re.compile(r"hlsp_tess-data-alerts_tess_phot_(?P<star>\d{11})-s(?P<part>\d{2})_tess_v[\w.]+_lc\.fits")),
    ("EPIC", re.compile(r"hlsp_[a-z0-9-]+_k2_\w+?_(?P<star>\d{9})-c(?P<part>\d{2,3})_\w+_v[\w.]+_ll?c\.fits")),
    ("EPIC", re.compile(r"hlsp_k2sff_k2_lightcurve_(?P<star>\d{9})-c(?P<part>\d{2,3})_\w+_v\d_llc-default-aper\.txt")),
    ("KIC", re.compile(r"hlsp_kepseismic_kepler_phot_kplr(?P<star>\d{9})-\d{2}d_kepler_v[\w.]+_cor-filt-inp\.fits")),
    (
        "Gaia DR3",
        re.compile(r"hlsp_tglc_tess_ffi_gaiaid-(?P<star>\d+)-s(?P<part>\d{4})-cam\d-ccd\d_tess_v\w+_llc\.fits"),
    ),
    (
        "Gaia DR2",
        re.compile(r"hlsp_cdips_tess_ffi_gaiatwo(?P<star>\d{22})-(?P<part>\d{4})(?:-cam\d-ccd\d)?_tess_v\d+_llc\.fits"),
    ),
    ("Gaia DR2", re.compile(r"hlsp_t16_tess_ffi_s(?P<part>\d{4})-cam\d-ccd\d-(?P<star>\d{20})_tess_v\d+_ll?c\.fits")),
)
# Other products of the archives, without light curves: skipping them is not a failure.
_OTHER_PRODUCT = re.compile(
    r"(?:kplr|ktwo|tess)\d+.*_(?:lpd-targ|spd-targ|tp|fast-tp|dvt|dvr|dvs|ffic?|ffir|xrp)\.fits"
    r"|hlsp_kepseismic_.*-psd-.*\.fits"
)
_NUMBERED = re.compile(
    r"(?P<catalogue>TIC|KIC|EPIC|kplr|ktwo)[\s_:-]*0*(?P<star>\d{1,16})(?![0-9A-Za-z])", re.IGNORECASE | re.ASCII
)
_PREFIXES = {"KPLR": "KIC", "KTWO": "EPIC"}
_PART = re.compile(
    r"(?:^|[\s_-])(?P<word>s|q|c|sector|quarter|campaign|part)[\s_-]?(?P<part>\d{1,4})$", re.IGNORECASE | re.ASCII
)
# Only these words are unambiguous: cluster_s1 and cluster_s2 may be two stars of a cluster.
_PART_WORDS = frozenset({"sector", "quarter", "campaign"})


@dataclass(frozen=True)
class ListedFile:
    """One light curve in a folder.

    path   relative to the folder, forward slashes
    star   its star: a catalogue name such as ``TIC 25155310``, or a unique name made from the path
    part   the sector or campaign in its name, if any
    short  its star without the folder; several stars may share it
    base   its star without the part, if its name may have one; only a table of targets can select by it
    refusal  the reason if a scan of the folder rejects the file, else empty
    """

    path: str
    star: str
    part: int | None = None
    short: str = field(default="", compare=False)
    base: str = field(default="", compare=False)
    refusal: str = ""


@dataclass(frozen=True)
class _UserFile:
    """A file named by the user. ``forms`` are possible names for its star, best first; the last one is unique."""

    file: ListedFile
    forms: tuple[str, ...]


def parse_catalogue_name(text: str) -> str | None:
    """Return ``TIC 25155310``, ``KIC 6850504`` or ``EPIC 206103150`` for any spelling of it; None for other text."""
    match = _NUMBERED.fullmatch(text.strip())
    return _format_catalogue_name(match["catalogue"], match["star"]) if match else None


def make_star_key(name: str) -> str:
    """Return a key for matching targets and files: blanks, ``_`` and ``-`` are equal, case is ignored.

    Different stars may share a key, so it only finds candidates.
    """
    return re.sub(r"[\s_-]+", "_", name.strip()).casefold()


def find_light_curves(folder: InputFolder, notes: list[str]) -> tuple[list[ListedFile], list[Problem]]:
    """Return all light curves in ``folder``, sorted by path, and the problems that prevent a run.

    Adds a line to ``notes`` about files that are not read. A folder without light curves is a problem.
    """
    tree = scan_folder(folder, LIGHT_CURVES)
    files = dict(list_files(tree.root))
    others = [path for path in files if _is_other_product(path)]
    curves = [replace(file, refusal=files[file.path].refusal) for file in name_stars(files.keys() - set(others))]
    notes += tree.make_notes()
    if others:
        notes.append(f"{tree.where}: skipped other products of the archives ({len(others)}), not light curves")
    problems = list(tree.problems)
    return curves, problems if curves or problems else [make_no_files_problem(tree, folder.option, LIGHT_CURVES)]


def name_stars(paths: Iterable[str]) -> list[ListedFile]:
    """Return the files at ``paths`` with their stars, sorted by path.

    Files share a star only if their names have the same catalogue number, or are parts (``x_sector_1``) of one name.
    """
    return _make_names_unique([_identify_file(path) for path in sorted(paths)])


def _make_names_unique(files: Sequence[ListedFile | _UserFile]) -> list[ListedFile]:
    """Give each star of user-named files its shortest unique name."""
    stars = {file.forms for file in files if isinstance(file, _UserFile)}
    taken = Counter(form for forms in stars for form in dict.fromkeys(forms))
    taken.update({file.star for file in files if isinstance(file, ListedFile)})
    return [file if isinstance(file, ListedFile) else _assign_name(file, taken) for file in files]


def _assign_name(own: _UserFile, taken: Mapping[str, int]) -> ListedFile:
    return replace(own.file, star=next((form for form in own.forms if taken[form] == 1), own.forms[-1]))


def _is_other_product(path: str) -> bool:
    """Return True if the name is that of another product of the archives."""
    return _OTHER_PRODUCT.fullmatch(_strip_gz(path).rpartition("/")[2]) is not None


def _strip_gz(path: str) -> str:
    return path[: -len(_PACKED)] if path.lower().endswith(_PACKED) else path


def _identify_file(path: str) -> ListedFile | _UserFile:
    """Identify the star of the file."""
    name = _strip_gz(path).rpartition("/")[2]
    for catalogue, pattern in _ARCHIVE:
        if match := pattern.fullmatch(name):
            part = match.groupdict().get("part")
            return _make_catalogue_file(
                path, _format_catalogue_name(catalogue, match["star"]), int(part) if part else None
            )
    return _identify_user_file(path)


def _identify_user_file(path: str) -> ListedFile | _UserFile:
    """Identify the star of a user-named file: by a catalogue number in its name or folder, else as a separate star."""
    parts = PurePosixPath(_strip_gz(path))
    stem, folder = parts.stem, parts.parent.name
    part = _PART.search(stem)
    number = int(part["part"]) if part else None
    if numbered := _NUMBERED.match(stem):
        return _make_catalogue_file(path, _format_catalogue_name(numbered["catalogue"], numbered["star"]), number)
    if folder and (catalogue_star := parse_catalogue_name(folder)):
        return _make_catalogue_file(path, catalogue_star, number)
    base = (stem[: part.start()] if part else "") or (folder if part or stem.isdecimal() else "")
    is_part = part is not None and part["word"].lower() in _PART_WORDS and bool(base)
    forms = _list_part_names(parts, part.start()) if part and is_part else _list_file_names(parts, path, bool(base))
    return _UserFile(ListedFile(path, "", number, base if is_part else stem, base), forms)


def _make_catalogue_file(path: str, star: str, part: int | None) -> ListedFile:
    return ListedFile(path, star, part, star)


def _list_part_names(path: PurePosixPath, end: int) -> tuple[str, ...]:
    """Return names for the star of a partial file: the name before the part, or else the folder."""
    base = path.stem[:end]
    whole = str(path.parent / base) if base else str(path.parent)
    return base or path.parent.name, whole, f"{whole}/"


def _list_file_names(path: PurePosixPath, given: str, may_be_part: bool) -> tuple[str, ...]:
    """Return names for the star of one file at ``given``. For a bare ``1`` or ``s01`` the name includes the folder."""
    is_bare = may_be_part and (path.stem.isdecimal() or _PART.fullmatch(path.stem) is not None)
    whole = str(path.parent / path.stem)
    return (whole if is_bare else path.stem), whole, given


def _format_catalogue_name(catalogue: str, number: str) -> str:
    prefix = catalogue if catalogue.startswith("Gaia") else catalogue.upper()
    return f"{_PREFIXES.get(prefix, prefix)} {int(number)}"
