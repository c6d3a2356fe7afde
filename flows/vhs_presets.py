"""Several presets on short pieces of one tape, side by side: ``python flows/vhs_presets.py --help``."""

if __name__ == "__main__":  # before the imports below: the local Prefect API starts while Prefect is imported
    from tasks.launcher.command import main

    raise SystemExit(main("flows.vhs_presets"))

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import Field

from tasks.batch import StageRun, batch_run
from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import get_published_file
from tasks.engine.reporting.report import Picture
from tasks.media.segments.source import load_survey
from tasks.restoration.comparison import cut_pieces
from tasks.restoration.comparison_stage import SHEET, ComparisonStage, comparison_item
from tasks.restoration.diagnosis_stage import (
    Diagnosed,
    DiagnosisParams,
    DiagnosisStage,
    diagnosed,
    diagnosis_items,
)
from tasks.restoration.engines.choice import Engines
from tasks.restoration.gallery import condition
from tasks.restoration.options import Height, TapeOptions
from tasks.restoration.planning import PlannedTape, Recipe, piece_of, plan_tape
from tasks.restoration.presets import Deinterlace
from tasks.restoration.segment_stage import SegmentStage, segment_items, segment_needs
from tasks.restoration.tapes import Tape, read_tape
from tasks.restoration.wishes import Wishes, read_presets, read_recipe


@dataclass(frozen=True)
class Inputs:
    """The tape, where it is, what each preset is told, and what is done by which engines."""

    tape: Tape
    wished: list[TapeOptions]
    folder: Path
    recipe: Recipe
    engines: Engines


def read_inputs(
    input: Path,
    presets: str = "vhs_standard,vhs_clean,vhs_heavy",
    height: Height | None = None,
    deinterlace: Deinterlace = "auto",
    preset_file: Path | None = None,
    override: list[str] | None = None,
) -> Inputs:
    """Read and check what the flow works on. Raises InvalidInput with everything that is wrong."""
    wishes = Wishes(preset_file, override or [])
    known, problems = read_presets(wishes)
    tape, wished, wrong = read_tape(input, presets.split(","), known, height=height, deinterlace=deinterlace)
    problems += wrong
    recipe, engines, wrong = read_recipe(wishes, known, {"ffmpeg"})
    problems += wrong
    if problems or tape is None:
        raise InvalidInput(problems)
    return Inputs(tape, wished, input.parent, recipe, engines)


@flow(name="vhs-presets", flow_run_name="vhs-presets {output_dir}", persist_result=False)
def vhs_presets(
    input: Path,
    output_dir: Path,
    presets: str = "vhs_standard,vhs_clean,vhs_heavy",
    pieces: Annotated[int, Field(ge=1, le=12)] = 3,
    piece_seconds: Annotated[float, Field(ge=0.2, le=60)] = 3.0,
    height: Height | None = None,
    deinterlace: Deinterlace = "auto",
    preset_file: Path | None = None,
    override: list[str] | None = None,
    execution: Execution = Execution(),
) -> State[Any]:
    """Restore a few short pieces of one tape by several presets, and put them side by side.

    Args:
        input: The tape
        output_dir: Folder for comparison.jpg, comparison.csv, pieces/, summary.json, items.parquet and report.html
        presets: Names of the presets, with commas between them
        pieces: How many pieces of the tape are restored, spread through it
        piece_seconds: Length of a piece
        height: Lines of the restored picture, in square pixels; by default as many as the tape has
        deinterlace: How fields become frames; none keeps them
        preset_file: TOML file with presets of your own
        override: KEY=VALUE, a key of all the presets to change; may be given several times
        execution: How the run is carried out
    """
    parameters = dict(locals())
    inputs = read_inputs(input, presets, height, deinterlace, preset_file, override)
    with batch_run("vhs-presets", output_dir, execution, parameters) as run:
        measured = run.stage(DiagnosisStage(DiagnosisParams()), diagnosis_items([inputs.tape], inputs.folder))
        record = next(measured.records(), None)
        if record is None:
            return run.finish()
        known = diagnosed(inputs.tape, inputs.folder, record.detail, record.outputs[0].sha256)
        tapes = _planned(known, inputs, run.output_dir, pieces, piece_seconds)
        stage = SegmentStage(inputs.engines.by_name, segment_needs([one.work for one in tapes], inputs.engines))
        restored = run.stage(stage, [item for one in tapes for item in segment_items(one)], prune=True)
        if restored.complete and not any(restored.outcomes.failed()):
            run.stage(ComparisonStage(), [_comparison(tapes, restored)])
            run.pictures += _pictures(known, run.output_dir)
        return run.finish()


def _planned(known: Diagnosed, inputs: Inputs, output_dir: Path, count: int, seconds: float) -> list[PlannedTape]:
    """The work of each preset on the same pieces. Raises InvalidInput where one cannot be had for such a tape."""
    tapes = []
    for options in inputs.wished:
        tape = replace(inputs.tape, id=options.preset, options=options)
        tapes.append(plan_tape(replace(known, tape=tape), inputs.recipe, output_dir))
    context = max(one.work.chain.context_frames for one in tapes)
    align = max(one.work.chain.ratio.denominator for one in tapes)
    segments = cut_pieces(load_survey(get_published_file(output_dir, known.survey)), context, align, count, seconds)
    return [piece_of(one, f"pieces/{one.work.tape}", segments) for one in tapes]


def _comparison(tapes: list[PlannedTape], restored: StageRun) -> Item:
    costs, digests = dict[str, float](), dict[str, str]()
    for record in restored.records():
        for output in record.outputs:
            costs[output.path], digests[output.path] = record.usage.cpu_seconds, output.sha256
    return comparison_item(tapes, costs, digests)


def _pictures(known: Diagnosed, output_dir: Path) -> list[Picture]:
    return [Picture(known.tape.path, "; ".join(condition(known.diagnosis)), (output_dir / SHEET).read_bytes())]
