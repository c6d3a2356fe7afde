"""What the user wishes for: detector, mask, model, codec, program; checked together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.engine.contract.errors import Problem
from tasks.media.segments.settings import MAX_CRF
from tasks.overlays.detection.mask.parsing import PictureMask, parse_mask
from tasks.overlays.detection.yolo.network import model_problems
from tasks.overlays.options import CleaningOptions, Detector, Device, Method, PrepareParams
from tasks.overlays.removal.command import command_problems, placeholders


@dataclass(frozen=True)
class Detection:
    """How overlays are found: the stage's parameters, and the file that it reads beside the video."""

    params: PrepareParams
    extra: Path | None = None


def read_detection(
    detector: Detector, mask: str | None, model: Path | None, score: float, classes: Sequence[str], device: Device
) -> tuple[Detection, list[Problem]]:
    """What finds the overlays, and everything that is wrong with it."""
    params = PrepareParams(detector=detector)
    problems = [*_idle(detector, mask, model, classes)]
    if detector == "mask":
        given = parse_mask(mask) if mask is not None else Problem("--mask", "nothing", "a picture or a box", "name one")
        if isinstance(given, Problem):
            return Detection(params), [*problems, given]
        if isinstance(given, PictureMask):
            return Detection(params, Path(mask or "").expanduser().absolute()), problems
        return Detection(params.model_copy(update={"mask": (mask or "").strip()})), problems
    if detector == "yolo":
        if model is None:
            advice = "name one with --model"
            return Detection(params), [*problems, Problem("--model", "nothing", "an ONNX model of YOLO", advice)]
        problems += model_problems(model, device, classes)
        params = PrepareParams(detector=detector, score=score, classes=tuple(classes), device=device)
        return Detection(params, model.absolute()), problems
    return Detection(params), problems


def _idle(detector: Detector, mask: str | None, model: Path | None, classes: Sequence[str]) -> list[Problem]:
    """Options that the detector would not even look at: the user meant another one."""
    given = [
        ("--mask", mask is not None, "mask"),
        ("--model", model is not None, "yolo"),
        ("--classes", bool(classes), "yolo"),
    ]
    return [
        Problem(option, f"given with --detector {detector}", f"--detector {meant}", "choose one of the two")
        for option, is_given, meant in given
        if is_given and detector != meant
    ]


def codec_problems(options: CleaningOptions) -> list[Problem]:
    """What is wrong with codec and quality together."""
    if options.crf is None:
        return []
    if options.codec == "lossless":
        return [Problem("--crf", f"{options.crf:g} with --codec lossless", "no crf", "leave it out")]
    if options.crf > MAX_CRF[options.codec]:
        return [Problem("--crf", f"{options.crf:g}", f"0 to {MAX_CRF[options.codec]} for {options.codec}", "lower it")]
    return []


def program_problems(method: Method, command: str | None, devices: int | None) -> list[Problem]:
    """What is wrong with the method ``command`` and its program together."""
    if method != "command":
        given = [("--command", command is not None), ("--devices", devices is not None)]
        return [
            Problem(option, f"given with --method {method}", "--method command", "choose one of the two")
            for option, is_given in given
            if is_given
        ]
    if command is None:
        allowed = "a program and its arguments, with {input}, {masks} and {output}"
        return [Problem("--command", "nothing, with --method command", allowed, "name the program")]
    problems = command_problems(command, "--command")
    if not problems and devices is None and "device" in placeholders(command):
        problems.append(Problem("--devices", "nothing, with {device}", "how many there are", "add --devices N"))
    return problems
