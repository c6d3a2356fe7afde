"""Scales: from values to places along an axis, 0 at its beginning and 1 at its end, and where its ticks are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tasks.transits.light_curve import Floats, Indices

# A gap longer than both is shortened, the longest first: sectors of a star may lie years apart.
_LONG_GAP_DAYS = 10.0
_LONG_GAP_SHARE = 0.1  # of the time without gaps
_MOST_BREAKS = 20
_SHORTENED_TO = 0.012
_LOG_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Tick:
    """``place`` along the axis, and what stands there."""

    place: float
    label: str


class Scale(Protocol):
    """What an axis of a panel needs to know."""

    def places(self, values: Floats | float) -> Floats:
        """Where ``values`` lie; below 0 or above 1 outside the axis."""

    def ticks(self, most: int) -> list[Tick]:
        """At most about ``most`` ticks at round values."""


@dataclass(frozen=True)
class Linear:
    """From ``low`` to ``high``."""

    low: float
    high: float

    def places(self, values: Floats | float) -> Floats:
        """Evenly."""
        return np.asarray((values - self.low) / (self.high - self.low), dtype=float)

    def ticks(self, most: int) -> list[Tick]:
        """At multiples of 1, 2 or 5 times a power of ten."""
        step = round_step(self.high - self.low, most)
        return [Tick(float(self.places(value)), format_number(value, step)) for value in _multiples(self, step)]


@dataclass(frozen=True)
class Log:
    """From ``low`` to ``high``, both above 0."""

    low: float
    high: float

    def places(self, values: Floats | float) -> Floats:
        """Evenly in the logarithm."""
        return np.asarray(np.log(values / self.low) / math.log(self.high / self.low), dtype=float)

    def ticks(self, most: int) -> list[Tick]:
        """At 1, 2 and 5 times powers of ten, or at multiples of one step where the axis spans too little for that."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [step * 10.0**decade for decade in decades for step in _LOG_STEPS]
        inside = [value for value in values if self.low <= value <= self.high]
        if len(inside) < 3:
            inside = list(_multiples(Linear(self.low, self.high), round_step(self.high - self.low, most)))
        if len(inside) > most:
            inside = [value for value in inside if math.isclose(math.log10(value) % 1, 0, abs_tol=1e-9)]
        return [Tick(float(self.places(value)), f"{value:g}") for value in inside]


@dataclass(frozen=True)
class Stretch:
    """A part of a broken axis: the values from ``low`` to ``high`` lie from ``first`` to ``last`` along it."""

    low: float
    high: float
    first: float
    last: float


@dataclass(frozen=True)
class Broken:
    """Time with its long gaps shortened. ``stretches`` are in order of time."""

    stretches: tuple[Stretch, ...]

    def places(self, values: Floats | float) -> Floats:
        """Evenly within each stretch, and between two."""
        known = [value for stretch in self.stretches for value in (stretch.low, stretch.high)]
        places = [place for stretch in self.stretches for place in (stretch.first, stretch.last)]
        inside = np.interp(values, known, places)
        return np.where((values < known[0]) | (values > known[-1]), np.where(values < known[0], -1.0, 2.0), inside)

    def ticks(self, most: int) -> list[Tick]:
        """At multiples of one step, within the stretches; a stretch too short for any has one at its middle."""
        observed = sum(stretch.high - stretch.low for stretch in self.stretches)
        step = round_step(observed, most)
        found = [tick for stretch in self.stretches for tick in self._within(stretch, step)]
        return _apart(found, 0.6 / most)

    def breaks(self) -> list[float]:
        """The middle of each shortened gap."""
        pairs = zip(self.stretches, self.stretches[1:], strict=False)
        return [(one.last + other.first) / 2 for one, other in pairs]

    def _within(self, stretch: Stretch, step: float) -> list[Tick]:
        values = list(_multiples(Linear(stretch.low, stretch.high), step)) or [round((stretch.low + stretch.high) / 2)]
        places = self.places(np.array(values, dtype=float))
        return [
            Tick(float(place), format_number(value, step).replace(",", ""))
            for place, value in zip(places, values, strict=True)
        ]


def time_scale(time: Floats) -> Broken:
    """An axis for ``time``, (n,) ascending days, with a margin at both ends and its long gaps shortened."""
    ends = _long_gaps(np.diff(time))
    starts = [float(time[0]), *time[ends + 1].tolist()]
    stops = [*time[ends].tolist(), float(time[-1])]
    margin = 0.006 * (sum(stops) - sum(starts) or 1.0)
    edges = [(start - margin, stop + margin) for start, stop in zip(starts, stops, strict=True)]
    return Broken(tuple(_laid_out(edges)))


def _long_gaps(steps: Floats) -> Indices:
    """Which steps are gaps to be shortened, ascending."""
    covered = float(steps[steps <= _LONG_GAP_DAYS].sum())
    long = np.flatnonzero(steps > max(_LONG_GAP_DAYS, _LONG_GAP_SHARE * covered))
    return np.sort(long[np.argsort(-steps[long], kind="stable")[:_MOST_BREAKS]])


def _laid_out(edges: list[tuple[float, float]]) -> Iterator[Stretch]:
    """The stretches one after another, as long as the time that they span, with a small gap between."""
    room = 1 - _SHORTENED_TO * (len(edges) - 1)
    total = sum(stop - start for start, stop in edges)
    first = 0.0
    for start, stop in edges:
        last = first + room * (stop - start) / total
        yield Stretch(start, stop, first, last)
        first = last + _SHORTENED_TO


def round_step(span: float, most: int) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that goes at most ``most`` times into ``span``."""
    rough = span / most
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next((step * power for step in _LOG_STEPS if step * power >= rough * (1 - 1e-9)), 10 * power)


def format_number(value: float, step: float = 1.0) -> str:
    """``value`` with as many decimals as ``step`` has, a true minus and commas from 10,000 on."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    rounded = round(value, decimals) + 0.0  # no minus before a zero
    text = f"{rounded:,.{decimals}f}" if abs(rounded) >= 10_000 else f"{rounded:.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _multiples(axis: Linear, step: float) -> list[float]:
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    return [count * step for count in range(first, last + 1)]


def _apart(ticks: list[Tick], least: float) -> list[Tick]:
    """Without those that lie closer than ``least`` to the one before."""
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or tick.place - kept[-1].place >= least:
            kept.append(tick)
    return kept
