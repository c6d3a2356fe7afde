"""Check that the search finds known planets at the correct periods, and no candidates of stars without planets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.transit_search.rows import format_table, save
from benchmarks.transit_search.stars import KnownStar, Planet, read_known_stars
from tasks.transits.candidate import Candidate
from tasks.transits.features import measure
from tasks.transits.flags import find_false_positive_flags, format_flags
from tasks.transits.light_curve import PreparedLightCurve
from tasks.transits.params import TransitParams
from tasks.transits.preparation import prepare
from tasks.transits.searching import search

TOLERANCE = 0.001  # of the period
MIN_SNR = 10.0  # of expected planets, in addition to the deepest
_EXTRA_CANDIDATES = 1  # candidates to search for, in addition to the known planets


@dataclass(frozen=True)
class Row:
    """A known planet, or another candidate. ``error``: relative error of the period; None if there is no match."""

    star: str
    planet: str
    true_period_days: float | None
    period_days: float | None
    error: float | None
    snr: float
    sde: float
    pink_noise_snr: float
    flags: str
    is_expected: bool

    @property
    def is_recovered(self) -> bool:
        """Return True if the planet is not expected, or detected at the correct period."""
        if not self.is_expected:
            return True
        return self.error is not None and abs(self.error) < TOLERANCE


def run(folder: Path, output: Path, names: Sequence[str] = ()) -> list[Row]:
    """Search every star of truth.csv, or those of ``names``, with default thresholds."""
    rows: list[Row] = []
    for star in read_known_stars(folder):
        if not names or star.name in names:
            rows += search_star(star)
            print(f"  {star.name}: searched", flush=True)
    save(output / "truth.json", rows)
    return rows


def search_star(star: KnownStar, params: TransitParams | None = None) -> list[Row]:
    """Return one row per known planet, then one for each other candidate."""
    params = params or TransitParams(max_planets=max(3, len(star.planets) + _EXTRA_CANDIDATES))
    observed = star.read_curve()
    planets = star.convert_planets(observed.time_system)
    result = search(prepare(observed, params), params)
    curve, candidates = result.curve, list(result.candidates)
    measured = {candidate.number: _format_measured(curve, candidate, candidates) for candidate in candidates}
    rows = []
    for planet in planets:
        match = next((candidate for candidate in candidates if is_planet(candidate, planet)), None)
        expected = planet is planets[0] or (match.snr if match else _estimate_snr(curve, planet)) > MIN_SNR
        rows.append(_make_row(star, planet, match, measured, is_expected=expected))
    others = [candidate for candidate in candidates if not any(is_planet(candidate, planet) for planet in planets)]
    return rows + [_make_row(star, None, candidate, measured, is_expected=False) for candidate in others]


def is_planet(candidate: Candidate, planet: Planet) -> bool:
    """Return True if the periods agree to 1 %, which may still miss ``TOLERANCE``."""
    return abs(candidate.period_days / planet.period_days - 1.0) < 0.01


def _estimate_snr(curve: PreparedLightCurve, planet: Planet) -> float:
    inside = planet.is_near(curve.time, 1.0)
    return planet.depth_ppm / 1e6 * float((curve.noise[inside] ** -2.0).sum()) ** 0.5


def _format_measured(
    curve: PreparedLightCurve, candidate: Candidate, candidates: Sequence[Candidate]
) -> tuple[float, str]:
    features = measure(curve, candidate, candidates)
    flags = format_flags(find_false_positive_flags(curve, candidate, features, candidates))
    return features.get_number("pink_noise_snr") or 0.0, flags


def _make_row(
    star: KnownStar,
    planet: Planet | None,
    candidate: Candidate | None,
    measured: Mapping[int, tuple[float, str]],
    is_expected: bool,
) -> Row:
    true = planet.period_days if planet else None
    period = candidate.period_days if candidate else None
    error = period / true - 1.0 if period and true else None
    pink, flags = measured[candidate.number] if candidate else (0.0, "")
    name = planet.name if planet else "not known"
    snr, sde = (candidate.snr, candidate.sde) if candidate else (0.0, 0.0)
    return Row(star.name, name, true, period, error, snr, sde, pink, flags, is_expected)


def report(rows: Sequence[Row]) -> None:
    """Print the known planets with their detections."""
    params = TransitParams()
    print(f"\nKnown planets and detections, with default options (SDE {params.min_sde:g}, SNR {params.min_snr:g})\n")
    print(
        format_table(
            ["star", "planet", "period", "found", "error", "SDE", "SNR", "pink SNR", "flags"], map(_format_cells, rows)
        )
    )
    expected = [row for row in rows if row.is_expected]
    recovered = sum(row.is_recovered for row in expected)
    print(f"\n{recovered} of {len(expected)} expected planets are found, within {TOLERANCE:.1%} of the period")


def _format_cells(row: Row) -> Iterator[str]:
    yield row.star
    yield row.planet
    yield "" if row.true_period_days is None else f"{row.true_period_days:.5f}"
    yield "not found" if row.period_days is None else f"{row.period_days:.5f}"
    yield "" if row.error is None else f"{row.error:.5%}"
    yield from (f"{value:.1f}" for value in (row.sde, row.snr, row.pink_noise_snr))
    yield row.flags
