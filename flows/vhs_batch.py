"""Restore digitized tapes: ``python flows/vhs_batch.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("flows.vhs_batch"))

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ByteSize

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.launcher.batch_flow import Steps, batch_flow, pick
from tasks.media.segments.codecs import Codec, Crf
from tasks.restoration.engines.neural.weights import DEFAULT_WEIGHTS, Device
from tasks.restoration.engines.template import Form
from tasks.restoration.options import EngineName, Height, SegmentSeconds, TapeOptions
from tasks.restoration.presets import Deinterlace

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun


@batch_flow("vhs-batch", extra="video")
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
) -> Steps:
    """Restore digitized tapes: measure the defects of each, repair them, and show what was done.

    Args:
        input: Folder of the tapes, searched recursively
        output_dir: Folder for restored/, previews/, summary.json, items.parquet, failures.json and report.html
        preset: vhs_standard, vhs_clean, vhs_heavy, vhs_archive, vhs (chosen by the noise) or one of --preset-file
        height: Output height in square pixels (default: the tape's)
        crf: Quality on the codec's scale, lower is better (default: the preset's)
        codec: x264, x265, svtav1 or ffv1 (default: the preset's)
        engine: What restores: FFmpeg's filters, a neural network, or your own program
        auto_detect: Measure each tape; otherwise, trust the file's metadata and assume typical noise
        deinterlace: Deinterlacer; none keeps the fields
        segment_seconds: Length of the segments that a tape is cut into (default: 30 s, less for short tapes)
        settings: CSV, JSON or Parquet table with a column tape and one column per option that differs
        preset_file: TOML file with your own presets
        override: KEY=VALUE, a key of the preset to change; repeatable
        command: Program of the engine command with its arguments, including {input} and {output}
        command_form: What the program reads and writes: a lossless clip, or a folder of PNG frames
        command_results: Folder within {output} that the program writes its frames into
        weights: Network of the engine neural: span-x2, span-x4, or the path of a .param file with its .bin beside it
        device: Device that runs the network
        preview: Write a split-screen clip of each tape: before, restored
        scratch: Maximum disk space for restored segments that wait to be joined (default: half of the free space)
        keep_segments: Keep segments/ after joining
        execution: Execution options
    """
    from tasks.engine.contract.manifest import check_priority
    from tasks.restoration.request import Request, read_presets, read_recipe
    from tasks.restoration.tapes import find_unmeasured_presets, read_common_options, read_tapes

    options = pick(TapeOptions.model_fields, locals())
    request = Request(preset_file, override or [], command, command_form, command_results, weights, device)
    presets, problems = read_presets(request)
    common, common_problems = read_common_options(**options)
    notes: list[str] = []
    tapes, tape_problems = read_tapes(input, settings, common, presets.names, notes)
    recipe, engines, recipe_problems = read_recipe(request, presets, {tape.options.engine for tape in tapes} | {engine})
    problems += [*common_problems, *tape_problems, *recipe_problems]
    problems += find_unmeasured_presets(tapes, presets, auto_detect)
    problems += check_priority(execution, (tape.fields for tape in tapes))
    if problems:
        raise InvalidInput(problems)

    def steps(run: BatchRun) -> State[Any]:
        from flows.steps.vhs_batch import restore_tapes

        run.note(notes)
        return restore_tapes(run, tapes, input, recipe, engines, auto_detect, preview, scratch, keep_segments)

    return steps
