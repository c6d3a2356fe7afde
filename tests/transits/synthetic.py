"""Synthetic light curves with injected transits (computed by batman) and normal noise from a seed.

    curve = simulate_light_curve(seed=1, planets=[Planet(period_days=3.0)])
    candidate = make_planet_candidate(curve, Planet(period_days=3.0))

By default, times are those of one TESS sector: 27 days with a cadence of two minutes.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tasks.transits.candidate import Candidate, Periodogram, TlsFit
from tasks.transits.light_curve import Flags, Floats, PreparedLightCurve, Segment, Star

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # batman imports distutils
    import batman

TWO_MINUTES_DAYS = 120.0 / 86_400.0
SUN = Star(radius=1.0, mass=1.0)


@dataclass(frozen=True)
class Planet:
    """A transiting body on a circular orbit; ``compute_scaled_axis`` and ``radius_ratio`` in stellar radii.

    limb_darkening   quadratic coefficients; (0, 0) for a star of uniform brightness
    secondary_depth  of the eclipse half a period later, as a fraction: the light of the body
    """

    period_days: float = 3.0
    transit_time_days: float = 1.0
    radius_ratio: float = 0.1
    scaled_axis: float = 8.76
    impact: float = 0.0
    limb_darkening: tuple[float, float] = (0.3, 0.2)
    secondary_depth: float = 0.0

    @property
    def duration_days(self) -> float:
        """Return T14, from first to fourth contact."""
        return self._compute_crossing_days(1.0 + self.radius_ratio)

    @property
    def ingress_fraction(self) -> float:
        """Return the ingress over the whole duration; 0.5 for a grazing transit."""
        return 0.5 * (1.0 - self._compute_crossing_days(1.0 - self.radius_ratio) / self.duration_days)

    def compute_flux(self, time: Floats) -> Floats:
        """Return the flux (n,) of star and body together, 1 out of transit."""
        params = batman.TransitParams()
        params.t0, params.per, params.rp, params.a = 0.0, self.period_days, self.radius_ratio, self.scaled_axis
        params.inc = math.degrees(math.acos(self.impact / self.scaled_axis))
        params.ecc, params.w = 0.0, 90.0
        params.limb_dark, params.u = "quadratic", list(self.limb_darkening)
        params.fp, params.t_secondary = self.secondary_depth, 0.5 * self.period_days
        since = time - self.transit_time_days
        transit = batman.TransitModel(params, since).light_curve(params)
        if not self.secondary_depth:
            return np.asarray(transit)
        eclipse = batman.TransitModel(params, since, transittype="secondary").light_curve(params)
        return np.asarray(transit + eclipse - 1.0 - self.secondary_depth)

    def _compute_crossing_days(self, reach: float) -> float:
        """Return the days for which the centres are closer than ``reach`` stellar radii."""
        if reach <= self.impact:
            return 0.0
        inclination = math.acos(self.impact / self.scaled_axis)
        sine = math.sqrt(reach**2 - self.impact**2) / (self.scaled_axis * math.sin(inclination))
        return self.period_days / math.pi * math.asin(sine)


def make_times(
    days: float = 27.0, cadence_days: float = TWO_MINUTES_DAYS, gaps: Sequence[tuple[float, float]] = ()
) -> Floats:
    """Return times from 0 to ``days``, except those in ``gaps`` (pairs of start and end)."""
    time = np.arange(0.0, days, cadence_days)
    kept = np.ones(len(time), dtype=np.bool_)
    for start, end in gaps:
        kept &= (time < start) | (time > end)
    return time[kept]


def simulate_light_curve(
    time: Floats | None = None,
    planets: Sequence[Planet] = (),
    noise_ppm: float = 500.0,
    seed: int = 0,
    star: Star = SUN,
    added: Floats | None = None,
    rotation_days: float | None = None,
) -> PreparedLightCurve:
    """Return a prepared light curve with the transits of ``planets``, normal noise, and ``added`` (n,) on top."""
    time = make_times() if time is None else time
    flux = np.ones(len(time))
    for planet in planets:
        flux *= planet.compute_flux(time)
    flux += np.random.default_rng(seed).normal(0.0, noise_ppm / 1e6, len(time))
    return make_prepared_curve(time, flux if added is None else flux + added, noise_ppm, star, rotation_days)


def make_prepared_curve(
    time: Floats, flux: Floats, noise_ppm: float = 500.0, star: Star = SUN, rotation_days: float | None = None
) -> PreparedLightCurve:
    """Return a prepared light curve with this flux and the same noise for all points."""
    cadence = float(np.median(np.diff(time))) if len(time) > 1 else TWO_MINUTES_DAYS
    segment = Segment("S1", "TESS", "SPOC", cadence * 86_400.0, "BTJD")
    noise = np.full(len(time), noise_ppm / 1e6)
    number = np.zeros(len(time), dtype=np.int64)
    return PreparedLightCurve(
        time, flux, noise, np.ones(len(time)), flux, number, (segment,), star, rotation_days=rotation_days
    )


def make_planet_candidate(curve: PreparedLightCurve, planet: Planet, used: Flags | None = None) -> Candidate:
    """Return the candidate that a perfect search would find for ``planet``."""
    late = math.ceil((curve.time[0] - planet.transit_time_days) / planet.period_days)
    return make_candidate(
        curve,
        planet.period_days,
        planet.transit_time_days + late * planet.period_days,
        planet.duration_days,
        ingress_fraction=planet.ingress_fraction,
        used=used,
    )


def make_candidate(
    curve: PreparedLightCurve,
    period_days: float,
    transit_time_days: float,
    duration_days: float,
    ingress_fraction: float = 0.1,
    number: int = 1,
    used: Flags | None = None,
) -> Candidate:
    """Return a candidate like those from a search of 0.6 to 13 days."""
    spectrum = np.array([0.0, 12.0, 0.0])
    periodogram = Periodogram(np.array([0.6, period_days, 13.0]), spectrum)
    return Candidate(
        number=number,
        period_days=period_days,
        period_uncertainty_days=0.001,
        transit_time_days=transit_time_days,
        duration_days=duration_days,
        depth=0.01,
        depth_uncertainty=0.0001,
        ingress_fraction=ingress_fraction,
        snr=100.0,
        sde=12.0,
        used=np.ones(len(curve.time), dtype=np.bool_) if used is None else used,
        periodogram=periodogram,
    )


def add_tls_fit(plain: Candidate) -> Candidate:
    """Return the candidate with a TLS fit."""
    fit = TlsFit(plain.period_days, plain.transit_time_days, plain.duration_days, 0.011, 15.0, 0.9)
    return replace(plain, tls=fit)
