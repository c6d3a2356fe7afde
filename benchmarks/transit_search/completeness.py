"""Draw the completeness: a map of signal-to-noise ratio against period per method, and a curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.transit_search.injections import is_recovered
from benchmarks.transit_search.rows import CurveResult

mpl.use("Agg")

_SNR_EDGES = np.array([5.0, 7.0, 9.0, 11.0, 13.0, 16.0, 20.001])
_PERIOD_EDGES = np.array([0.6, 1.2, 2.5, 5.0, 10.0, 20.0, 50.0])
_MIN_PLANETS = 3  # in a coloured cell


def draw(path: Path, rows: Sequence[CurveResult], min_sde: Mapping[tuple[str, str], float]) -> None:
    """Write the figure as PNG. ``min_sde``: threshold per family and method."""
    methods = list(rows[0].detections)
    columns = math.ceil((len(methods) + 1) / 2)
    figure = Figure(figsize=(4.8 * columns, 8.5), layout="constrained")
    axes = figure.subplots(2, columns).ravel()
    for axis, method in zip(axes, methods, strict=False):
        is_hit = np.array([is_recovered(row, method, min_sde[row.family, method]) for row in rows])
        _draw_map(axis, rows, is_hit, f"{method}: {is_hit.mean():.0%} of {len(rows)}")
    _draw_curves(
        axes[len(methods)],
        rows,
        {method: [is_recovered(row, method, min_sde[row.family, method]) for row in rows] for method in methods},
    )
    for axis in axes[len(methods) + 1 :]:
        axis.set_axis_off()
    figure.suptitle("Planets found with the correct period at 1 % false positives, each method at its own threshold")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _draw_map(axis: Axes, rows: Sequence[CurveResult], is_hit: np.ndarray, title: str) -> None:
    period, snr = (np.array([row.signal[name] for row in rows]) for name in ("period_days", "snr"))
    edges = (_PERIOD_EDGES, _SNR_EDGES)
    total, _, _ = np.histogram2d(period, snr, bins=edges)
    hits, _, _ = np.histogram2d(period[is_hit], snr[is_hit], bins=edges)
    share = np.where(total >= _MIN_PLANETS, hits / np.maximum(total, 1), np.nan).T
    axis.pcolormesh(np.arange(len(edges[0])), np.arange(len(edges[1])), share, vmin=0, vmax=1, cmap="viridis")
    for (y, x), value in np.ndenumerate(share):
        if np.isfinite(value):
            shade = "white" if value < 0.6 else "black"
            text = f"{value:.0%}\nof {int(total[x, y])}"
            axis.text(x + 0.5, y + 0.5, text, ha="center", va="center", color=shade, fontsize=8)
    axis.set_xticks(np.arange(len(edges[0])), [f"{edge:g}" for edge in edges[0]])
    axis.set_yticks(np.arange(len(edges[1])), [f"{edge:.0f}" for edge in edges[1]])
    axis.set(title=title, xlabel="period, days", ylabel="signal-to-noise injected")


def _draw_curves(axis: Axes, rows: Sequence[CurveResult], hits: Mapping[str, Sequence[bool]]) -> None:
    snr = np.array([row.signal["snr"] for row in rows])
    number = np.clip(np.digitize(snr, _SNR_EDGES) - 1, 0, len(_SNR_EDGES) - 2)
    middles = 0.5 * (_SNR_EDGES[1:] + _SNR_EDGES[:-1])
    for method, is_hit in hits.items():
        filled = [index for index in range(len(middles)) if np.any(number == index)]
        shares = [np.mean(np.asarray(is_hit)[number == index]) for index in filled]
        axis.plot(middles[filled], shares, marker="o", label=method)
    axis.set(title="All periods", xlabel="signal-to-noise injected", ylabel="share found", ylim=(0, 1))
    axis.legend(loc="lower right")
    axis.grid(alpha=0.3)
