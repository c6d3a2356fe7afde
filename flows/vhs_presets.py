"""Compare presets on pieces of one tape: ``python flows/vhs_presets.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("flows.vhs_presets"))

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.launcher.batch_flow import Steps, batch_flow
from tasks.restoration.options import Height
from tasks.restoration.presets import Deinterlace, Override, PresetNames

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun


@batch_flow("vhs-presets", extra="video")
def vhs_presets(
    *,
    input: Annotated[Path, Field(title="Tape")],
    output_dir: Annotated[Path, Field(title="Output folder")],
    presets: Annotated[PresetNames, Field(title="Presets, separated by commas")] = "vhs_standard,vhs_clean,vhs_heavy",
    pieces: Annotated[int, Field(ge=1, le=12, title="Pieces")] = 3,
    piece_seconds: Annotated[float, Field(ge=0.2, le=60, title="Length of a piece (s)")] = 3.0,
    height: Annotated[Height | None, Field(title="Height (px)")] = None,
    deinterlace: Annotated[Deinterlace, Field(title="Deinterlacer")] = "auto",
    override: Annotated[list[Override] | None, Field(title="Changes to all presets (KEY=VALUE)")] = None,
    preset_file: Annotated[Path | None, Field(title="Your presets (TOML file)")] = None,
    execution: Execution = Execution(),
) -> Steps:
    """Restore short pieces of one tape by several presets and compare them side by side.

    Args:
        input: The tape
        output_dir: Folder for comparison.jpg, comparison.csv, pieces/, summary.json, items.parquet and report.html
        presets: Names of the presets, separated by commas
        pieces: Number of pieces to restore, spread through the tape
        piece_seconds: Length of a piece
        height: Output height in square pixels (default: the tape's)
        deinterlace: Deinterlacer; none keeps the fields
        override: KEY=VALUE, a key of all presets to change; repeatable
        preset_file: TOML file with your own presets
        execution: Execution options
    """
    from tasks.engine.contract.manifest import check_priority
    from tasks.restoration.request import Request, read_presets, read_recipe
    from tasks.restoration.tapes import read_tape

    request = Request(preset_file, override or [])
    available, problems = read_presets(request)
    tape, options, tape_problems = read_tape(
        input, presets.split(","), available, height=height, deinterlace=deinterlace
    )
    recipe, engines, recipe_problems = read_recipe(request, available, {"ffmpeg"})
    problems += [*tape_problems, *recipe_problems, *check_priority(execution, ())]
    if problems or tape is None:
        raise InvalidInput(problems)

    def steps(run: BatchRun) -> State[Any]:
        from flows.steps.vhs_presets import compare_presets

        return compare_presets(run, tape, options, input.parent, recipe, engines, pieces, piece_seconds)

    return steps
