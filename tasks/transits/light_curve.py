"""The light curve of one star, as observed and as prepared for the search."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Indices: TypeAlias = NDArray[np.int64]

# Zero points of the missions' time systems, as Julian dates (TDB).
TIME_ZERO_DAYS = {"BTJD": 2_457_000.0, "BKJD": 2_454_833.0, "BJD": 0.0}


@dataclass(frozen=True)
class Segment:
    """One sector, quarter or campaign of a star: one continuous observation with one pointing.

    name             ``S1``, ``Q3``, ``C5``, or the file's stem if the file does not name its segment
    mission          ``TESS``, ``Kepler``, ``K2``, or empty
    author           the pipeline: ``SPOC``, ``QLP``, ``Kepler``, ``K2``, ``csv``
    cadence_seconds  median step between exposures
    time_system      a key of ``TIME_ZERO_DAYS``
    """

    name: str
    mission: str
    author: str
    cadence_seconds: float
    time_system: str


@dataclass(frozen=True)
class Star:
    """Stellar parameters in solar units and kelvin; None if unknown."""

    radius: float | None = None
    mass: float | None = None
    temperature_kelvin: float | None = None
    log_gravity: float | None = None

    @property
    def density(self) -> float:
        """Return the mean density in solar units; 1 if mass or radius is unknown."""
        return self.mass / self.radius**3 if self.mass and self.radius else 1.0


@dataclass(frozen=True)
class LightCurve:
    """A light curve of one or several segments, in time order, without bad cadences.

    time        (n,) days in ``time_system``, strictly increasing
    flux        (n,) each segment over its own median, so about 1
    flux_error  (n,) in the same unit; NaN without errors in the file
    segment     (n,) index into ``segments``
    disturbed   (m,) times of cadences with a momentum dump, a thruster firing or scattered light, sorted
    nonpositive  number of points that are excluded because their flux is 0 or negative
    """

    time: Floats
    flux: Floats
    flux_error: Floats
    segment: Indices
    segments: tuple[Segment, ...]
    star: Star
    disturbed: Floats = field(default_factory=lambda: np.zeros(0))
    nonpositive: int = 0

    @property
    def time_system(self) -> str:
        """Return the time system of ``time``, common to all segments."""
        return self.segments[0].time_system


@dataclass(frozen=True)
class PreparedLightCurve:
    """The light curve for the search: detrended, without upward outliers.

    time             (n,) days, strictly increasing
    flux             (n,) over its trend, out-of-transit level 1
    noise            (n,) one-sigma scatter of each point: robust, per segment, never zero
    trend            (n,) the divisor of ``observed``
    observed         (n,) the normalised flux before detrending
    segment          (n,) index into ``segments``
    rotation_days    strongest period of the undetrended flux, by Lomb-Scargle; None if there is none
    disturbed        (m,) as in :class:`LightCurve`
    edges            (k,) times of the first and last points of pieces between gaps, before points were excluded
    nonpositive      as in :class:`LightCurve`
    short_dips       number of points that are excluded because they are low alone
    """

    time: Floats
    flux: Floats
    noise: Floats
    trend: Floats
    observed: Floats
    segment: Indices
    segments: tuple[Segment, ...]
    star: Star
    rotation_days: float | None = None
    disturbed: Floats = field(default_factory=lambda: np.zeros(0))
    edges: Floats = field(default_factory=lambda: np.zeros(0))
    nonpositive: int = 0
    short_dips: int = 0

    @property
    def baseline_days(self) -> float:
        """Return the time from the first point to the last."""
        return float(self.time[-1] - self.time[0])

    @property
    def cadence_days(self) -> float:
        """Return the median step between points."""
        return float(np.median(np.diff(self.time)))


def divide_out(curve: PreparedLightCurve, variation: Floats) -> PreparedLightCurve:
    """Return ``curve`` without a stellar variation (n,), which becomes part of the trend, and with reduced noise."""
    flux = curve.flux / variation
    ratio = np.median(np.abs(flux - np.median(flux))) / np.median(np.abs(curve.flux - np.median(curve.flux)))
    return replace(curve, flux=flux, trend=curve.trend * variation, noise=curve.noise * min(float(ratio), 1.0))
