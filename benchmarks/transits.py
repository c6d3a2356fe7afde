"""How well and how fast the transit search finds planets: ``python benchmarks/transits.py``.

truth            the known planets of real stars, and silence on stars without
false-positives  how strong the strongest signal is in real noise without planets, for each way of searching
injections       planets injected into real noise: how many each way finds at 1 % false positives; a completeness map
speed            CPU seconds a star beside the usual pipeline, one thread
scaling          a flow of many stars with one slot and with two

The light curves lie in shared/ beside the checkout, or where HEADRACE_SHARED says.
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
warnings.simplefilter("ignore")  # of the libraries that are compared

import cyclopts  # noqa: E402

from benchmarks.machine import describe_machine  # noqa: E402
from benchmarks.transit_search import completeness, false_positives, injections, scaling, speed, truth  # noqa: E402
from benchmarks.transit_search.stars import EASY, shared_folder  # noqa: E402

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
    """Measure and print tables; results as JSON and the completeness map go into the output folder.

    Args:
        part: What to measure; all of it by default
        output_dir: Folder for the results
        curves: Scrambled light curves without planets, a family
        planets: Planets injected
        repeats: How often each timed thing is run; medians are printed
        processes: For what is not timed
        quick: A minute's worth of each part, to see that it works
    """
    folder = shared_folder()
    print(describe_machine(), flush=True)
    if quick:
        curves, planets, repeats = 2, 6, 1
    if "truth" in part:
        truth.report(truth.run(folder, output_dir, EASY if quick else ()))
    if "false-positives" in part:
        false_positives.report(false_positives.run(folder, output_dir, curves, processes))
    if "injections" in part:
        quiet = false_positives.load(output_dir)
        found = injections.run(folder, output_dir, planets, processes)
        injections.report(found, quiet)
        completeness.draw(output_dir / "completeness.png", found, injections.thresholds(quiet))
        print(f"completeness map: {output_dir / 'completeness.png'}")
    if "speed" in part:
        speed.report(speed.run(folder, output_dir, repeats, speed.SHORT_STARS if quick else speed.ALL_STARS))
    if "scaling" in part:
        scaling.report(scaling.run(folder, output_dir, 4 if quick else 48, repeats=1 if quick else 3))


if __name__ == "__main__":
    cyclopts.run(main)
