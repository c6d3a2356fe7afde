"""A shelf of tapes, measured and restored: ``python flows/vhs_batch.py --help``."""

if __name__ == "__main__":  # before the imports below: the local Prefect API starts while Prefect is imported
    from tasks.launcher.command import main

    raise SystemExit(main("flows.vhs_batch"))

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from pydantic import ByteSize

from tasks.assembly import Assembly, Whole
from tasks.batch import StageRun, batch_run
from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.contract.manifest import check_priority
from tasks.engine.store.outcomes import Record
from tasks.media.segment_stages.join_stage import refuse_item
from tasks.media.segment_stages.preview_stage import preview_item
from tasks.media.segments.settings import Codec, Crf
from tasks.restoration.diagnosis_stage import (
    Diagnosed,
    DiagnosisParams,
    DiagnosisStage,
    diagnosed,
    diagnosis_items,
    survey_path,
)
from tasks.restoration.engines.choice import Engines
from tasks.restoration.engines.neural.weights import DEFAULT_WEIGHTS, Device
from tasks.restoration.engines.template import Form
from tasks.restoration.gallery import Shown, tape_gallery
from tasks.restoration.join_stage import JoinStage, bare_item, join_item
from tasks.restoration.options import EngineName, Height, SegmentSeconds
from tasks.restoration.planning import PlannedTape, Recipe, plan_tape
from tasks.restoration.presets import Deinterlace
from tasks.restoration.preview_stage import PreviewParams, PreviewStage
from tasks.restoration.segment_stage import SegmentStage, segment_items, segment_needs
from tasks.restoration.size import estimate_tape_bytes
from tasks.restoration.tapes import Tape, common_options, read_tapes, unmeasured_problems
from tasks.restoration.wishes import Wishes, read_presets, read_recipe


@dataclass(frozen=True)
class Inputs:
    """The tapes, where they are, what is done about them, by which engines, and what the user should know of them."""

    tapes: list[Tape]
    folder: Path
    recipe: Recipe
    engines: Engines
    notes: list[str]


def read_inputs(
    input: Path,
    preset: str = "vhs_standard",
    height: Height | None = None,
    crf: Crf | None = None,
    codec: Codec | None = None,
    engine: EngineName = "ffmpeg",
    auto_detect: bool = True,
    deinterlace: Deinterlace = "auto",
    segment_seconds: SegmentSeconds | None = None,
    settings: Path | None = None,
    preset_file: Path | None = None,
    override: list[str] | None = None,
    command: str | None = None,
    command_form: Form = "clip",
    command_results: str = "",
    weights: str = DEFAULT_WEIGHTS,
    device: Device = "cpu",
    execution: Execution = Execution(),
) -> Inputs:
    """Read and check what the flow works on. Raises InvalidInput with everything that is wrong."""
    wishes = Wishes(preset_file, override or [], command, command_form, command_results, weights, device)
    presets, problems = read_presets(wishes)
    common, wrong = common_options(
        preset=preset,
        height=height,
        crf=crf,
        codec=codec,
        engine=engine,
        deinterlace=deinterlace,
        segment_seconds=segment_seconds,
    )
    problems += wrong
    notes: list[str] = []
    tapes, wrong = read_tapes(input, settings, common, presets.names, notes)
    problems += wrong
    recipe, engines, wrong = read_recipe(wishes, presets, {tape.options.engine for tape in tapes} | {engine})
    problems += wrong
    problems += unmeasured_problems(tapes, presets, auto_detect)
    problems += check_priority(execution, (tape.fields for tape in tapes))
    if problems:
        raise InvalidInput(problems)
    return Inputs(tapes, input, recipe, engines, notes)


@flow(name="vhs-batch", flow_run_name="vhs-batch {output_dir}", persist_result=False)
def vhs_batch(
    input: Path,
    output_dir: Path,
    preset: str = "vhs_standard",
    height: Height | None = None,
    crf: Crf | None = None,
    codec: Codec | None = None,
    engine: EngineName = "ffmpeg",
    auto_detect: bool = True,
    deinterlace: Deinterlace = "auto",
    segment_seconds: SegmentSeconds | None = None,
    settings: Path | None = None,
    preset_file: Path | None = None,
    override: list[str] | None = None,
    command: str | None = None,
    command_form: Form = "clip",
    command_results: str = "",
    weights: str = DEFAULT_WEIGHTS,
    device: Device = "cpu",
    preview: bool = False,
    scratch: ByteSize | None = None,
    keep_segments: bool = False,
    execution: Execution = Execution(),
) -> State[Any]:
    """Restore a shelf of digitised tapes: measure what is wrong with each, put it right, show what was done.

    Args:
        input: Folder of the tapes, with folders in it
        output_dir: Folder for restored/, previews/, summary.json, items.parquet, failures.json and report.html
        preset: vhs_standard, vhs_clean, vhs_heavy, vhs_archive, vhs (chosen by the noise) or one of --preset-file
        height: Lines of the restored picture, in square pixels; by default as many as the tape has
        crf: Quality as the codec counts it, lower is better; by default the preset's
        codec: x264, x265, svtav1 or ffv1; by default the preset's
        engine: What restores: FFmpeg's filters, a neural network, or a program of yours
        auto_detect: Measure each tape; without it the file is believed and a usual amount of noise is taken for granted
        deinterlace: How fields become frames; none keeps them
        segment_seconds: Length of the segments that a tape is cut into; by default 30 s, less for short tapes
        settings: CSV, JSON or Parquet table with a column tape and a column for each option that differs
        preset_file: TOML file with presets of your own
        override: KEY=VALUE, a key of the preset to change; may be given several times
        command: The program of the engine command, with its arguments and {input} and {output} among them
        command_form: What the program takes and makes: a lossless clip, or a folder of PNG frames
        command_results: Folder within {output} into which the program writes its frames
        weights: Network of the engine neural: span-x2, span-x4, or the path of a .param file with its .bin beside it
        device: What the network runs on
        preview: Write a clip of each tape that is split down its middle: before, restored
        scratch: Most disk space for restored segments that wait to be joined; by default half of what is free
        keep_segments: Leave the segments in segments/ when their whole is there
        execution: How the run is carried out
    """
    parameters = dict(locals())
    inputs = read_inputs(
        input,
        preset,
        height,
        crf,
        codec,
        engine,
        auto_detect,
        deinterlace,
        segment_seconds,
        settings,
        preset_file,
        override,
        command,
        command_form,
        command_results,
        weights,
        device,
        execution,
    )
    with batch_run("vhs-batch", output_dir, execution, parameters) as run:
        run.note(inputs.notes)
        measured = run.stage(
            DiagnosisStage(DiagnosisParams(auto_detect=auto_detect)), diagnosis_items(inputs.tapes, inputs.folder)
        )
        known = {one.tape.id: one for one in _known(inputs, measured)}
        shelf = [_planned(one, inputs.recipe, run.output_dir) for one in known.values()]
        works = [one.work for one in shelf if isinstance(one, PlannedTape)]
        segments = SegmentStage(inputs.engines.by_name, segment_needs(works, inputs.engines))
        joined = Assembly(segments, JoinStage(), scratch, keep_segments).run(run, [_whole(one) for one in shelf])
        restored = [record for part in joined for record in part.records()]
        run.stage(PreviewStage(PreviewParams(clip=preview)), [_preview(record, known) for record in restored])
        run.pictures += tape_gallery(
            [Shown(one.id, known[one.id].diagnosis, one.values, known[one.id].tape.path) for one in restored],
            run.output_dir,
        )
        return run.finish()


def _known(inputs: Inputs, measured: StageRun) -> Iterator[Diagnosed]:
    """What is known of the tapes that were measured."""
    tapes = {tape.id: tape for tape in inputs.tapes}
    for record in measured.records():
        digest = next(output.sha256 for output in record.outputs if output.path == survey_path(record.id))
        yield diagnosed(tapes[record.id], inputs.folder, record.detail, digest)


def _planned(known: Diagnosed, recipe: Recipe, output_dir: Path) -> PlannedTape | Item:
    """What is to be done about a tape; an item that fails, saying why, where nothing can be."""
    try:
        return plan_tape(known, recipe, output_dir)
    except InvalidInput as error:
        return refuse_item(bare_item(known), str(error))


def _whole(tape: PlannedTape | Item) -> Whole:
    if isinstance(tape, Item):
        return Whole(tape, (), 0)
    return Whole(join_item(tape), tuple(segment_items(tape)), estimate_tape_bytes(tape))


def _preview(record: Record, known: Mapping[str, Diagnosed]) -> Item:
    digests = [output.sha256 for output in record.outputs]
    return preview_item(bare_item(known[record.id]), record.detail["work"], digests)
