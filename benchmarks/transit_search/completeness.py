"""A picture of what is found: signal-to-noise against period, a map for each way of searching, and a curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.transit_search.injections import recovered
from benchmarks.transit_search.rows import Searched

mpl.use("Agg")

_SNR_EDGES = np.array([5.0, 7.0, 9.0, 11.0, 13.0, 16.0, 20.001])
_PERIOD_EDGES = np.array([0.6, 1.2, 2.5, 5.0, 10.0, 20.0, 50.0])
_LEAST = 3  # planets in a cell that is coloured


def draw(path: Path, rows: Sequence[Searched], least: Mapping[tuple[str, str], float]) -> None:
    """Write a PNG."""
    ways = list(rows[0].found)
    columns = math.ceil((len(ways) + 1) / 2)
    figure = Figure(figsize=(4.8 * columns, 8.5), layout="constrained")
    axes = figure.subplots(2, columns).ravel()
    for axis, way in zip(axes, ways, strict=False):
        found = np.array([recovered(row, way, least[row.family, way]) for row in rows])
        _map(axis, rows, found, f"{way}: {found.mean():.0%} of {len(rows)}")
    _curves(axes[len(ways)], rows, {way: [recovered(row, way, least[row.family, way]) for row in rows] for way in ways})
    for axis in axes[len(ways) + 1 :]:
        axis.set_axis_off()
    figure.suptitle("Planets found with the right period at 1 % false positives, each way at its own threshold")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _map(axis: Axes, rows: Sequence[Searched], found: np.ndarray, title: str) -> None:
    period, snr = (np.array([row.signal[name] for row in rows]) for name in ("period_days", "snr"))
    edges = (_PERIOD_EDGES, _SNR_EDGES)
    total, _, _ = np.histogram2d(period, snr, bins=edges)
    hits, _, _ = np.histogram2d(period[found], snr[found], bins=edges)
    share = np.where(total >= _LEAST, hits / np.maximum(total, 1), np.nan).T
    axis.pcolormesh(np.arange(len(edges[0])), np.arange(len(edges[1])), share, vmin=0, vmax=1, cmap="viridis")
    for (y, x), value in np.ndenumerate(share):
        if np.isfinite(value):
            shade = "white" if value < 0.6 else "black"
            text = f"{value:.0%}\nof {int(total[x, y])}"
            axis.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=shade, fontsize=8)
    axis.set_xticks(np.arange(len(edges[0])), [f"{edge:g}" for edge in edges[0]])
    axis.set_yticks(np.arange(len(edges[1])), [f"{edge:.0f}" for edge in edges[1]])
    axis.set(title=title, xlabel="period, days", ylabel="signal-to-noise injected")


def _curves(axis: Axes, rows: Sequence[Searched], found: Mapping[str, Sequence[bool]]) -> None:
    snr = np.array([row.signal["snr"] for row in rows])
    number = np.clip(np.digitize(snr, _SNR_EDGES) - 1, 0, len(_SNR_EDGES) - 2)
    middles = 0.5 * (_SNR_EDGES[1:] + _SNR_EDGES[:-1])
    for way, hits in found.items():
        there = [index for index in range(len(middles)) if np.any(number == index)]
        shares = [np.mean(np.asarray(hits)[number == index]) for index in there]
        axis.plot(middles[there], shares, marker="o", label=way)
    axis.set(title="All periods", xlabel="signal-to-noise injected", ylabel="share found", ylim=(0, 1))
    axis.legend(loc="lower right")
    axis.grid(alpha=0.3)
