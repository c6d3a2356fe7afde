"""Recognizes the columns of a table of targets: our names, and those of archives with their units."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.manifest import Row, Table, find_missing_columns, shorten
from tasks.engine.contract.text import showable
from tasks.transits.light_curve import TIME_ZERO_DAYS

TARGET_ID = "target_id"
LABEL = "label"
_TIME_SYSTEM = "time_system"
_HOUR = 1 / 24
_BTJD, _BKJD = TIME_ZERO_DAYS["BTJD"], TIME_ZERO_DAYS["BKJD"]
_PPM, _PERCENT = 1e-6, 1e-2

# All names below are compared in lower case, with ``_`` for every other sign: ``TIC ID`` is ``tic_id``. Sources: the
# column descriptions of the NASA Exoplanet Archive (tables toi, cumulative, q1_q17_dr25_tce, ps, k2pandc), ExoFOP's
# CSV files, and the TIC.
_IDS = {
    TARGET_ID: "", "tid": "TIC", "tic_id": "TIC", "ticid": "TIC", "tic": "TIC", "kepid": "KIC", "kic_id": "KIC",
    "kic": "KIC", "epic_id": "EPIC", "epic": "EPIC", "epic_number": "EPIC", "epic_hostname": "EPIC", "hostname": "",
}  # fmt: skip
_LABELS = ("label", "toi", "ctoi", "kepoi_name", "epic_candname", "pl_name")
_PERIODS = dict.fromkeys(("period", "period_days", "pl_orbper", "koi_period", "tce_period"), 1.0)
# Zero of the count in Julian days. NaN: the table does not say, so only full Julian dates are unambiguous.
_EPOCHS = {
    "epoch": math.nan, "t0": math.nan, "epoch_bjd": 0.0, "t0_bjd": 0.0, "epoch_btjd": _BTJD, "t0_btjd": _BTJD,
    "epoch_bkjd": _BKJD, "t0_bkjd": _BKJD, "pl_tranmid": 0.0, "koi_time0bk": _BKJD, "koi_time0": 0.0,
    "tce_time0bk": _BKJD, "tce_time0": 0.0, "transit_time_days": math.nan,
}  # fmt: skip
_DURATIONS = {
    "duration_days": 1.0, "duration_hours": _HOUR, "koi_duration": _HOUR, "tce_duration": _HOUR, "pl_trandurh": _HOUR,
    "pl_trandur": _HOUR, "duration": math.nan,
}  # fmt: skip
_DEPTHS = {
    "depth_ppm": _PPM, "depth_percent": _PERCENT, "depth_fraction": 1.0, "koi_depth": _PPM, "tce_depth": _PPM,
    "pl_trandep": math.nan, "depth": math.nan,
}  # fmt: skip
# By the field of Star: its columns, limits that no star exceeds, and the unit.
STAR: Mapping[str, tuple[tuple[str, ...], float, float, str]] = {
    "radius": (
        ("radius", "stellar_radius", "st_rad", "koi_srad", "rad", "stellar_radius_r_sun"), 0.005, 2000.0, "solar radii",
    ),
    "mass": (("mass", "stellar_mass", "st_mass", "koi_smass", "stellar_mass_m_sun"), 0.01, 500.0, "solar masses"),
    "temperature_kelvin": (
        ("stellar_temperature", "st_teff", "koi_steff", "teff", "stellar_eff_temp_k"), 500.0, 300_000.0, "kelvin",
    ),
    "log_gravity": (
        ("stellar_log_gravity", "st_logg", "koi_slogg", "logg", "stellar_log_g_cm_s_2"), -2.0, 10.0,
        "the log10 of a gravity in cm/s2",
    ),
}  # fmt: skip
# Our own names, whose values are in columns of the results.
_OWN = frozenset(
    {TARGET_ID, "label", "period", "period_days", "epoch", "t0", "duration_days", "duration_hours", "depth_ppm"}
    | {"depth_percent", "depth_fraction", "transit_time_days", "stellar_temperature", "stellar_log_gravity"}
    | {f"{word}_{system}" for word in ("epoch", "t0") for system in ("bjd", "btjd", "bkjd")}
    | {"radius", "mass", "stellar_radius", "stellar_mass"}
)
_EMPTY = frozenset({"", "nan", "null", "none", "na", "n/a", "--"})
_FILLERS = (-1.0, 0.0)
_MIN_JULIAN_DATE = 2_400_000.0


@dataclass(frozen=True)
class Measured:
    """A column with numbers, and what converts them: a factor, or the zero of a time in Julian days."""

    column: str
    unit: float


@dataclass(frozen=True)
class TargetColumns:
    """The columns of one table of targets; None for a missing one.

    catalogue  of bare numbers in the column ``target``: ``TIC``, ``KIC``, ``EPIC``, or empty if it does not say
    star       columns by the field of Star
    """

    target: str = TARGET_ID
    catalogue: str = ""
    label: str | None = None
    period: Measured | None = None
    epoch: Measured | None = None
    duration: Measured | None = None
    depth: Measured | None = None
    star: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def has_candidates(self) -> bool:
        """Return True if a row may be one of several candidates of its star."""
        return self.period is not None

    def list_own(self) -> frozenset[str]:
        """Return the columns in use that have our own names."""
        return frozenset(column for column, _ in self.list_used()) & _OWN

    def list_used(self) -> Iterator[tuple[str, str]]:
        """Yield each column in use, with what it holds."""
        yield self.target, f"{TARGET_ID} ({self.catalogue})" if self.catalogue else TARGET_ID
        for word in ("label", "period", "epoch", "duration", "depth"):
            use = getattr(self, word)
            if use is not None:
                yield use if isinstance(use, str) else use.column, word
        for word, columns in self.star.items():
            for column in columns:
                yield column, f"stellar {word.removesuffix('_kelvin').replace('_', ' ')}"


def recognize_columns(
    table: Table, name: str, id_column: str | None, notes: list[str]
) -> tuple[TargetColumns, list[Problem]]:
    """Return the columns of ``table`` and the problems that prevent their use; ``name`` is that of its file.

    Adds a line to ``notes`` about columns that are recognized by the names of archives.
    """
    finder = _Finder(table, name)
    target, catalogue = finder.find_target(id_column)
    period = finder.find("period", _PERIODS)
    columns = TargetColumns(
        target,
        catalogue,
        finder.find_label(),
        period,
        finder.find("epoch", _EPOCHS) if period else None,
        finder.find_duration() if period else None,
        finder.find_depth() if period else None,
        {word: tuple(finder.list_actual(names)) for word, (names, *_) in STAR.items()},
    )
    known = [f"{column!r} as {use}" for column, use in columns.list_used() if column not in _OWN]
    if known and not finder.problems:
        notes.append(f"{name}: read {', '.join(known)}")
    return columns, finder.problems


class _Finder:
    """Finds columns by their normalized names, and collects problems."""

    def __init__(self, table: Table, name: str) -> None:
        self.table = table
        self.name = name
        self.problems: list[Problem] = []
        self.actual: dict[str, list[str]] = defaultdict(list)
        for column in table.columns:
            self.actual[_normalize(column)].append(column)

    def list_actual(self, names: Collection[str]) -> list[str]:
        return [column for name in names for column in self.actual.get(name, ())]

    def find_target(self, id_column: str | None) -> tuple[str, str]:
        """Return the column of the star's name and the catalogue that it implies."""
        if id_column is not None:
            if id_column not in self.table.columns:
                allowed = showable(", ".join(self.table.columns))
                self.problems.append(Problem("--id-column", f"no column {shorten(id_column)}", allowed, "correct it"))
            return id_column, _IDS.get(_normalize(id_column), "")
        named = [name for name in _IDS if name in self.actual]
        catalogues = {_IDS[name] for name in named} - {""}
        if named[:1] == [TARGET_ID] or len(named) == 1:
            pass
        elif len(catalogues) == 1:
            named = [name for name in named if _IDS[name]]
        elif named:
            given = f"the columns {', '.join(self.list_actual(named))} name the star"
            self._add(given, "one of them", "name it with --id-column")
        if not named:
            self.problems += find_missing_columns(self.table, (TARGET_ID,), self.name)
            return TARGET_ID, ""
        return self.actual[named[0]][0], _IDS[named[0]]

    def find_label(self) -> str | None:
        return next(iter(self.list_actual(_LABELS)), None)

    def find(self, word: str, units: Mapping[str, float]) -> Measured | None:
        """Return the only column among ``units``; None if there is none, or several, which is a problem."""
        columns = self.list_actual(units)
        if len(columns) > 1:
            given = f"the columns {', '.join(columns)} hold the {word} of a candidate"
            self._add(given, "one of them", "remove or rename the others")
            return None
        return Measured(columns[0], units[_normalize(columns[0])]) if columns else None

    def find_duration(self) -> Measured | None:
        return self._require_unit(self.find("duration", _DURATIONS), "duration_hours or duration_days")

    def find_depth(self) -> Measured | None:
        depth = self.find("depth", _DEPTHS)
        if depth is not None and _normalize(depth.column) == "pl_trandep":
            # In parts per million in the archive's table toi, in percent in its tables of planets.
            is_toi, is_planet = ({"tid", "toi"} & self.actual.keys(), {"pl_name", "pl_letter"} & self.actual.keys())
            if bool(is_toi) != bool(is_planet):
                depth = Measured(depth.column, _PPM if is_toi else _PERCENT)
        return self._require_unit(depth, "depth_ppm, depth_percent or depth_fraction")

    def _require_unit(self, measured: Measured | None, allowed: str) -> Measured | None:
        if measured is None or not math.isnan(measured.unit):
            return measured
        self._add(f"the column {measured.column!r} without a unit", allowed, "rename it")
        return None

    def _add(self, given: str, allowed: str, advice: str) -> None:
        self.problems.append(Problem(self.name, showable(given), allowed, advice))


def get_cell(row: Row, column: str | None) -> object:
    """Return the row's cell; None if it is empty, NaN or a word for a missing value."""
    value = row.values.get(column) if column is not None else None
    if isinstance(value, str):
        return None if value.strip().casefold() in _EMPTY else value
    return None if isinstance(value, float) and math.isnan(value) else value


def is_filler(number: float | None) -> bool:
    """Return True for -1 and 0, with which catalogues fill cells of unknown values."""
    return number in _FILLERS


def parse_number(given: object) -> float | None:
    """Return the number in a cell; None for anything else."""
    if isinstance(given, bool) or not isinstance(given, int | float | str):
        return None
    try:
        return float(given)
    except (ValueError, OverflowError):
        return None


def read_number(
    row: Row, column: str, limits: tuple[float, float], unit: str, factor: float = 1.0
) -> float | Problem | None:
    """Return a cell's number times ``factor``; None if it is unknown (empty, nan, -1, 0), or a problem."""
    given = get_cell(row, column)
    if given is None:
        return None
    number = parse_number(given)
    if is_filler(number):
        return None
    low, high = limits
    if number is None or not low <= number * factor <= high:
        allowed = f"{unit}, from {low / factor:g} to {high / factor:g}, or empty"
        return row.problem(column, shorten(given), allowed, "correct it, or leave it empty")
    return number * factor


def read_epoch(row: Row, epoch: Measured) -> float | Problem | None:
    """Return the Julian date of a cell; None if it is unknown, or a problem if its origin is ambiguous or wrong."""
    given = get_cell(row, epoch.column)
    number = parse_number(given)
    if given is None or is_filler(number):
        return None
    zero = _get_zero(row, epoch)
    if number is not None and math.isfinite(number):
        if number >= _MIN_JULIAN_DATE and (math.isnan(zero) or zero == 0.0):
            return number
        if zero > 0.0 and number < _MIN_JULIAN_DATE:
            return number + zero
    is_count = zero > 0.0
    allowed = f"days since {zero:.0f}, or empty" if is_count else "a full Julian date such as 2458325.5, or empty"
    advice = "correct it" if is_count else "for BTJD or BKJD, rename the column to epoch_btjd or epoch_bkjd"
    return row.problem(epoch.column, shorten(given), allowed, advice)


def _get_zero(row: Row, epoch: Measured) -> float:
    """Return the zero of the count; of our own ``transit_time_days``, the row's ``time_system`` states it."""
    if epoch.column != "transit_time_days":
        return epoch.unit
    return TIME_ZERO_DAYS.get(str(row.values.get(_TIME_SYSTEM)), math.nan)


def _normalize(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
