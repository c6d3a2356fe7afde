"""Restore digitized tapes: ``python flows/vhs_batch.py --help``."""

from __future__ import annotations

if __name__ == "__main__":
    from tasks.launcher.command import main

    raise SystemExit(main("flows.vhs_batch"))

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Bytes, Execution
from tasks.launcher.batch_flow import Steps, batch_flow, pick
from tasks.media.segments.codecs import Codec, Crf
from tasks.restoration.engines.neural.weights import DEFAULT_WEIGHTS, Device, WeightsName
from tasks.restoration.engines.template import CommandText, Form, ResultsFolder
from tasks.restoration.options import EngineName, Height, SegmentSeconds, TapeOptions
from tasks.restoration.presets import Deinterlace, Override

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from tasks.batch import BatchRun


@batch_flow("vhs-batch", extra="video")
def vhs_batch(
    *,
    input: Annotated[Path, Field(title="Folder of tapes")],
    output_dir: Annotated[Path, Field(title="Output folder")],
    preset: Annotated[str, Field(min_length=1, title="Preset")] = "vhs_standard",
    height: Annotated[Height | None, Field(title="Height (px)")] = None,
    codec: Annotated[Codec | None, Field(title="Codec")] = None,
    crf: Annotated[Crf | None, Field(title="Quality (constant rate factor)")] = None,
    deinterlace: Annotated[Deinterlace, Field(title="Deinterlacer")] = "auto",
    preview: Annotated[bool, Field(title="Split-screen previews")] = False,
    auto_detect: Annotated[bool, Field(title="Measure each tape")] = True,
    override: Annotated[list[Override] | None, Field(title="Changes to the preset (KEY=VALUE)")] = None,
    settings: Annotated[Path | None, Field(title="Settings per tape (CSV, JSON or Parquet)")] = None,
    preset_file: Annotated[Path | None, Field(title="Your presets (TOML file)")] = None,
    engine: Annotated[EngineName, Field(title="Engine")] = "ffmpeg",
    weights: Annotated[WeightsName, Field(title="Network (or a .param file)")] = DEFAULT_WEIGHTS,
    device: Annotated[Device, Field(title="Device of the network")] = "cpu",
    command: Annotated[CommandText | None, Field(title="Command of the engine command")] = None,
    command_form: Annotated[Form, Field(title="Input and output of the command")] = "clip",
    command_results: Annotated[ResultsFolder, Field(title="Folder of the command's results")] = "",
    segment_seconds: Annotated[SegmentSeconds | None, Field(title="Length of segments (s)")] = None,
    scratch: Annotated[Bytes | None, Field(title="Disk space for segments (such as 100GiB)")] = None,
    keep_segments: Annotated[bool, Field(title="Keep segments")] = False,
    execution: Execution = Execution(),
) -> Steps:
    """Restore digitized tapes: measure the defects of each, repair them, and show what was done.

    Args:
        input: Folder of the tapes, searched recursively
        output_dir: Folder for restored/, previews/, summary.json, items.parquet, failures.json and report.html
        preset: vhs_standard, vhs_clean, vhs_heavy, vhs_archive, vhs (chosen by the noise) or one of --preset-file
        height: Output height in square pixels (default: the tape's)
        codec: x264, x265, svtav1 or ffv1 (default: the preset's)
        crf: Quality on the codec's scale, lower is better (default: the preset's)
        deinterlace: Deinterlacer; none keeps the fields
        preview: Write a split-screen clip of each tape: before, restored
        auto_detect: Measure each tape; otherwise, trust the file's metadata and assume typical noise
        override: KEY=VALUE, a key of the preset to change; repeatable
        settings: CSV, JSON or Parquet table with a column tape and one column per option that differs
        preset_file: TOML file with your own presets
        engine: What restores: FFmpeg's filters, a neural network, or your own program
        weights: Network of the engine neural: span-x2, span-x4, or the path of a .param file with its .bin beside it
        device: Device that runs the network
        command: Program of the engine command with its arguments, including {input} and {output}
        command_form: What the program reads and writes: a lossless clip, or a folder of PNG frames
        command_results: Folder within {output} that the program writes its frames into
        segment_seconds: Length of the segments that a tape is cut into (default: 30 s, less for short tapes)
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
