"""Whether the known planets are found, at the right periods, and nothing on stars without known planets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.transit_search.rows import save, table
from benchmarks.transit_search.stars import KnownStar, Planet, known_stars
from tasks.transits.candidate import Candidate
from tasks.transits.features import measure
from tasks.transits.flags import find_false_positive_flags, format_flags
from tasks.transits.light_curve import PreparedLightCurve
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare
from tasks.transits.searching import search

TOLERANCE = 0.001  # of the period
MIN_SNR = 10.0  # of planets that are to be found beside the deepest
_MORE = 1  # candidates asked for beyond the known planets


@dataclass(frozen=True)
class Row:
    """A known planet or a candidate that is none. ``error`` of the period, as a share; None where one is missing."""

    star: str
    planet: str
    true_period_days: float | None
    period_days: float | None
    error: float | None
    snr: float
    sde: float
    pink_noise_snr: float
    flags: str
    asked: bool

    @property
    def reached(self) -> bool:
        """Found where it was asked for; not there where it is no planet."""
        if not self.asked:
            return True
        return self.error is not None and abs(self.error) < TOLERANCE


def run(folder: Path, output: Path, names: Sequence[str] = ()) -> list[Row]:
    """Search every star of truth.csv, or those of ``names``, with default thresholds."""
    rows: list[Row] = []
    for star in known_stars(folder):
        if not names or star.name in names:
            rows += rows_of(star)
            print(f"  {star.name}: searched", flush=True)
    save(output / "truth.json", rows)
    return rows


def rows_of(star: KnownStar, params: TransitParams | None = None) -> list[Row]:
    """Return one row per known planet, then one for each other candidate."""
    params = params or TransitParams(max_planets=max(3, len(star.planets) + _MORE))
    observed = star.light_curve()
    planets = star.planets_in(observed.time_system)
    result = search(prepare(observed, params), params)
    curve, found = result.curve, list(result.candidates)
    measured = {candidate.number: _format_measured(curve, candidate, found) for candidate in found}
    rows = []
    for planet in planets:
        match = next((candidate for candidate in found if is_planet(candidate, planet)), None)
        expected = planet is planets[0] or (match.snr if match else _expected_snr(curve, planet)) > MIN_SNR
        rows.append(_make_row(star, planet, match, measured, asked=expected))
    known = [candidate for candidate in found if not any(is_planet(candidate, planet) for planet in planets)]
    return rows + [_make_row(star, None, candidate, measured, asked=False) for candidate in known]


def is_planet(candidate: Candidate, planet: Planet) -> bool:
    """Within 1 % in period: near enough to be meant, far enough to be wrong."""
    return abs(candidate.period_days / planet.period_days - 1.0) < 0.01


def _expected_snr(curve: PreparedLightCurve, planet: Planet) -> float:
    inside = planet.near(curve.time, 1.0)
    return planet.depth_ppm / 1e6 * float((curve.noise[inside] ** -2.0).sum()) ** 0.5


def _format_measured(curve: PreparedLightCurve, candidate: Candidate, found: Sequence[Candidate]) -> tuple[float, str]:
    features = measure(curve, candidate, found)
    flags = format_flags(find_false_positive_flags(curve, candidate, features, found))
    return features.get_number("pink_noise_snr") or 0.0, flags


def _make_row(
    star: KnownStar,
    planet: Planet | None,
    found: Candidate | None,
    measured: Mapping[int, tuple[float, str]],
    asked: bool,
) -> Row:
    true = planet.period_days if planet else None
    period = found.period_days if found else None
    error = period / true - 1.0 if period and true else None
    pink, flags = measured[found.number] if found else (0.0, "")
    name = planet.name if planet else "not known"
    snr, sde = (found.snr, found.sde) if found else (0.0, 0.0)
    return Row(star.name, name, true, period, error, snr, sde, pink, flags, asked)


def report(rows: Sequence[Row]) -> None:
    """Print what was found of what is known."""
    params = TransitParams()
    print(f"\nKnown planets and what was found, with defaults (SDE {params.min_sde:g}, SNR {params.min_snr:g})\n")
    print(
        table(
            ["star", "planet", "period", "found", "error", "SDE", "SNR", "pink SNR", "flags"], map(_format_cells, rows)
        )
    )
    asked = [row for row in rows if row.asked]
    reached = sum(row.reached for row in asked)
    print(f"\n{reached} of {len(asked)} that were asked for are there, within {TOLERANCE:.1%} of the period")


def _format_cells(row: Row) -> Iterator[str]:
    yield row.star
    yield row.planet
    yield "" if row.true_period_days is None else f"{row.true_period_days:.5f}"
    yield "not found" if row.period_days is None else f"{row.period_days:.5f}"
    yield "" if row.error is None else f"{row.error:.5%}"
    yield from (f"{value:.1f}" for value in (row.sde, row.snr, row.pink_noise_snr))
    yield row.flags
