"""Results of a search: periodograms, and the transit candidates in them."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.transits.light_curve import Flags, Floats


@dataclass(frozen=True)
class Periodogram:
    """A search over trial periods.

    period_days  (m,) ascending
    power        (m,) signal detection efficiency: the spectrum over its running median, in units of its scatter
    """

    period_days: Floats
    power: Floats


@dataclass(frozen=True)
class TlsFit:
    """The fit of a transit shape (transit least squares) to the same signal.

    chi_square_ratio  chi-square of the transit model over that of the best box, in the same points: below 1 if the
                      signal has the shape of a transit
    """

    period_days: float
    transit_time_days: float
    duration_days: float
    depth: float
    sde: float
    chi_square_ratio: float


@dataclass(frozen=True)
class Candidate:
    """One periodic dimming, after harmonics are resolved.

    number                  1 for the first detection; later searches mask the candidates before
    transit_time_days       mid-transit of the first transit at or after the light curve's start
    duration_days           first to fourth contact (T14)
    depth                   of the floor of the best trapezoid, as a fraction
    ingress_fraction        ingress over the whole duration, of the best trapezoid: 0 for a box, 0.5 for a V
    snr                     depth over its uncertainty, in white noise
    sde                     height of its peak in the spectrum; NaN for a given candidate outside the spectrum
    used                    (n,) points that the search used: all except the transits of earlier candidates
    """

    number: int
    period_days: float
    period_uncertainty_days: float | None
    transit_time_days: float
    duration_days: float
    depth: float
    depth_uncertainty: float
    ingress_fraction: float
    snr: float
    sde: float
    used: Flags
    periodogram: Periodogram
    tls: TlsFit | None = None
