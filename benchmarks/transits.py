"""Measure the accuracy and speed of the transit search: ``python benchmarks/transits.py``.

truth            known planets of real stars, and no candidates of stars without planets
false-positives  SDE of the strongest signal in real noise without planets, per method
injections       planets injected into real noise: share that each method finds at 1 % false positives; completeness map
speed            CPU seconds per star of Headrace and the usual pipeline, one thread
scaling          a flow of many stars with one slot and with two

The light curves are in shared/ next to the checkout, or in the folder in HEADRACE_SHARED.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.transit_search.pool import ONE_THREAD

os.environ.update(ONE_THREAD)  # before numba, BLAS and OpenMP are loaded
warnings.simplefilter("ignore")  # of the compared libraries

import cyclopts  # noqa: E402

from benchmarks.machine import describe_machine  # noqa: E402
from benchmarks.transit_search import completeness, false_positives, injections, scaling, speed, truth  # noqa: E402
from benchmarks.transit_search.stars import EASY, find_shared_folder  # noqa: E402

Part = Literal["truth", "false-positives", "injections", "speed", "scaling"]
PARTS: tuple[Part, ...] = ("truth", "false-positives", "injections", "speed", "scaling")


def main(
    part: tuple[Part, ...] = PARTS,
    output_dir: Path = Path("build/benchmarks/transits"),
    curves: int = 150,
    planets: int = 600,
    repeats: int = 5,
    processes: Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))] = os.cpu_count() or 1,
    quick: bool = False,
) -> None:
    """Measure, print tables, and write the results as JSON and the completeness map to the output folder.

    Args:
        part: Parts to run (default: all)
        output_dir: Folder for the results
        curves: Scrambled light curves without planets per family
        planets: Number of injected planets
        repeats: Number of timed runs; medians are printed
        processes: Number of processes for parts without timing
        quick: Run a minute of each part as a check
    """
    folder = find_shared_folder()
    print(describe_machine(), flush=True)
    if quick:
        curves, planets, repeats = 2, 6, 1
    if "truth" in part:
        truth.report(truth.run(folder, output_dir, EASY if quick else ()))
    if "false-positives" in part:
        false_positives.report(false_positives.run(folder, output_dir, curves, processes))
    if "injections" in part:
        noise_rows = false_positives.load(output_dir)
        rows = injections.run(folder, output_dir, planets, processes)
        injections.report(rows, noise_rows)
        completeness.draw(output_dir / "completeness.png", rows, injections.compute_thresholds(noise_rows))
        print(f"completeness map: {output_dir / 'completeness.png'}")
    if "speed" in part:
        speed.report(speed.run(folder, output_dir, repeats, speed.SHORT_STARS if quick else speed.ALL_STARS))
    if "scaling" in part:
        scaling.report(scaling.run(folder, output_dir, 4 if quick else 48, repeats=1 if quick else 3))


if __name__ == "__main__":
    cyclopts.run(main)
