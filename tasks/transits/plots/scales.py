"""Scales: convert values to positions along an axis, 0 at its start and 1 at its end, and choose its ticks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tasks.transits.light_curve import Floats, Indices

# Gaps above both limits are shortened, longest first: sectors of a star may be years apart.
_LONG_GAP_DAYS = 10.0
_LONG_GAP_SHARE = 0.1  # of the time without gaps
_MAX_BREAKS = 20
_SHORTENED_TO = 0.012
_LOG_STEPS = (1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Tick:
    """``place`` along the axis, and its label."""

    place: float
    label: str


class Scale(Protocol):
    """The interface of an axis of a panel."""

    def locate(self, values: Floats | float) -> Floats:
        """Return the positions of ``values``; below 0 or above 1 outside the axis."""

    def list_ticks(self, max_ticks: int) -> list[Tick]:
        """Return at most about ``max_ticks`` ticks at round values."""


@dataclass(frozen=True)
class Linear:
    """A linear axis from ``low`` to ``high``."""

    low: float
    high: float

    def locate(self, values: Floats | float) -> Floats:
        """Return the positions of ``values``."""
        return np.asarray((values - self.low) / (self.high - self.low), dtype=float)

    def list_ticks(self, max_ticks: int) -> list[Tick]:
        """Return ticks at multiples of 1, 2 or 5 times a power of ten."""
        step = round_step(self.high - self.low, max_ticks)
        return [Tick(float(self.locate(value)), format_number(value, step)) for value in _list_multiples(self, step)]


@dataclass(frozen=True)
class Log:
    """A logarithmic axis from ``low`` to ``high``, both above 0."""

    low: float
    high: float

    def locate(self, values: Floats | float) -> Floats:
        """Return the positions of ``values``."""
        return np.asarray(np.log(values / self.low) / math.log(self.high / self.low), dtype=float)

    def list_ticks(self, max_ticks: int) -> list[Tick]:
        """Return ticks at 1, 2 and 5 times powers of ten, or at multiples of one step for a short axis."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = [step * 10.0**decade for decade in decades for step in _LOG_STEPS]
        inside = [value for value in values if self.low <= value <= self.high]
        if len(inside) < 3:
            inside = list(_list_multiples(Linear(self.low, self.high), round_step(self.high - self.low, max_ticks)))
        if len(inside) > max_ticks:
            inside = [value for value in inside if math.isclose(math.log10(value) % 1, 0, abs_tol=1e-9)]
        return [Tick(float(self.locate(value)), f"{value:g}") for value in inside]


@dataclass(frozen=True)
class Stretch:
    """A part of a broken axis: the values from ``low`` to ``high`` map to ``first`` to ``last`` along it."""

    low: float
    high: float
    first: float
    last: float


@dataclass(frozen=True)
class Broken:
    """A time axis with shortened gaps. ``stretches`` are in time order."""

    stretches: tuple[Stretch, ...]

    def locate(self, values: Floats | float) -> Floats:
        """Return the positions of ``values``, interpolated within and between stretches."""
        edges = [value for stretch in self.stretches for value in (stretch.low, stretch.high)]
        places = [place for stretch in self.stretches for place in (stretch.first, stretch.last)]
        inside = np.interp(values, edges, places)
        return np.where((values < edges[0]) | (values > edges[-1]), np.where(values < edges[0], -1.0, 2.0), inside)

    def list_ticks(self, max_ticks: int) -> list[Tick]:
        """Return ticks at multiples of one step within the stretches, or one at the middle of a shorter stretch."""
        observed = sum(stretch.high - stretch.low for stretch in self.stretches)
        step = round_step(observed, max_ticks)
        ticks = [tick for stretch in self.stretches for tick in self._list_ticks(stretch, step)]
        return _drop_close_ticks(ticks, 0.6 / max_ticks)

    def get_breaks(self) -> list[float]:
        """Return the middle of each shortened gap."""
        pairs = zip(self.stretches, self.stretches[1:], strict=False)
        return [(left.last + right.first) / 2 for left, right in pairs]

    def _list_ticks(self, stretch: Stretch, step: float) -> list[Tick]:
        values = list(_list_multiples(Linear(stretch.low, stretch.high), step)) or [
            round((stretch.low + stretch.high) / 2)
        ]
        places = self.locate(np.array(values, dtype=float))
        return [
            Tick(float(place), format_number(value, step).replace(",", ""))
            for place, value in zip(places, values, strict=True)
        ]


def make_time_scale(time: Floats) -> Broken:
    """Return an axis for ``time``, (n,) ascending days, with a margin at both ends and its long gaps shortened."""
    ends = _find_long_gaps(np.diff(time))
    starts = [float(time[0]), *time[ends + 1].tolist()]
    stops = [*time[ends].tolist(), float(time[-1])]
    margin = 0.006 * (sum(stops) - sum(starts) or 1.0)
    edges = [(start - margin, stop + margin) for start, stop in zip(starts, stops, strict=True)]
    return Broken(tuple(_lay_out(edges)))


def _find_long_gaps(steps: Floats) -> Indices:
    """Return the indices of the steps to shorten, ascending."""
    covered = float(steps[steps <= _LONG_GAP_DAYS].sum())
    long = np.flatnonzero(steps > max(_LONG_GAP_DAYS, _LONG_GAP_SHARE * covered))
    return np.sort(long[np.argsort(-steps[long], kind="stable")[:_MAX_BREAKS]])


def _lay_out(edges: list[tuple[float, float]]) -> Iterator[Stretch]:
    """Yield consecutive stretches, each as long as the time that it spans, with a small gap between."""
    room = 1 - _SHORTENED_TO * (len(edges) - 1)
    total = sum(stop - start for start, stop in edges)
    first = 0.0
    for start, stop in edges:
        last = first + room * (stop - start) / total
        yield Stretch(start, stop, first, last)
        first = last + _SHORTENED_TO


def round_step(span: float, max_ticks: int) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that goes at most ``max_ticks`` times into ``span``."""
    rough = span / max_ticks
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next((step * power for step in _LOG_STEPS if step * power >= rough * (1 - 1e-9)), 10 * power)


def format_number(value: float, step: float = 1.0) -> str:
    """Format ``value`` with the decimals of ``step``, a true minus, and commas from 10,000 on."""
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    rounded = round(value, decimals) + 0.0  # no negative zero
    text = f"{rounded:,.{decimals}f}" if abs(rounded) >= 10_000 else f"{rounded:.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _list_multiples(axis: Linear, step: float) -> list[float]:
    first, last = math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9)
    return [count * step for count in range(first, last + 1)]


def _drop_close_ticks(ticks: list[Tick], min_distance: float) -> list[Tick]:
    """Drop ticks closer than ``min_distance`` to the previous one."""
    kept: list[Tick] = []
    for tick in ticks:
        if not kept or tick.place - kept[-1].place >= min_distance:
            kept.append(tick)
    return kept
