"""What a search finds: periodograms, and the transit signals in them."""

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
    """The same signal as transit least squares sees it.

    chi_square_ratio  chi-square of the transit model over that of the best box, in the same points: below 1 where the
                      signal is shaped like a transit
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

    number                  1 for the first found; each further one is searched with the earlier ones masked
    transit_time_days       mid-transit of the first transit at or after the light curve's start
    duration_days           first to fourth contact (T14)
    depth                   of the floor of the trapezoid that fits best, as a fraction
    ingress_fraction        ingress over the whole duration, of the trapezoid that fits best: 0 a box, 0.5 a V
    snr                     depth over its uncertainty, in white noise
    sde                     height of its peak, where it was found
    used                    (n,) the points that it was found in: all but earlier candidates' transits
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
