"""Checks the options of detection and removal in combination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.engine.contract.errors import Problem
from tasks.media.segments.codecs import MAX_CRF
from tasks.overlays.boxes import Box
from tasks.overlays.detection.adjusting import parse_times
from tasks.overlays.detection.mask.parsing import ImageMask, parse_mask
from tasks.overlays.detection.yolo.network import check_model
from tasks.overlays.options import CleaningOptions, Detector, Device, Method, PrepareParams
from tasks.overlays.removal.command import check_command, list_placeholders


@dataclass(frozen=True)
class Detection:
    """How overlays are detected: the stage's parameters, and the mask image or model, then images of ``--add``."""

    params: PrepareParams
    extra: tuple[Path, ...] = ()


def read_adjustments(
    detection: Detection, skip: Sequence[str], add: Sequence[str], times: Sequence[str]
) -> tuple[Detection, list[Problem]]:
    """Return ``detection`` with the user's adjustments of its findings, and all their problems."""
    problems = [part for text in times if isinstance(part := parse_times(text), Problem)]
    kept = {text: parse_mask(text) for text in skip}
    problems += [_refuse_skip(text) for text, given in kept.items() if not isinstance(given, Box)]
    if skip and detection.params.detector == "mask":
        problems.append(Problem("--skip", "given with --detector mask", "another detector", "omit it"))
    added = {text: parse_mask(text) for text in add}
    problems += [replace(given, where="--add") for given in added.values() if isinstance(given, Problem)]
    images = tuple(Path(text).expanduser().absolute() for text, given in added.items() if isinstance(given, ImageMask))
    changes = {
        "skip": tuple(text.strip() for text in kept),
        "add": tuple(text.strip() for text, given in added.items() if isinstance(given, Box)),
        "added_images": len(images),
        "times": tuple(text.strip() for text in times),
    }
    return Detection(detection.params.model_copy(update=changes), (*detection.extra, *images)), problems


def _refuse_skip(text: str) -> Problem:
    allowed = "the box of a detected overlay, as in the column boxes: LEFT,TOP,WIDTHxHEIGHT in pixels"
    return Problem("--skip", f"{text!r} is not a box", allowed, "write it as in 20,16,180x64")


def read_detection(
    detector: Detector, mask: str | None, model: Path | None, score: float, classes: Sequence[str], device: Device
) -> tuple[Detection, list[Problem]]:
    """Return the detection options and all their problems."""
    params = PrepareParams(detector=detector)
    problems = [*_check_unused(detector, mask, model, classes)]
    if detector == "mask":
        given = parse_mask(mask) if mask is not None else Problem("--mask", "missing", "an image or a box", "add it")
        if isinstance(given, Problem):
            return Detection(params), [*problems, given]
        if isinstance(given, ImageMask):
            return Detection(params, (Path(mask or "").expanduser().absolute(),)), problems
        return Detection(params.model_copy(update={"mask": (mask or "").strip()})), problems
    if detector == "yolo":
        if model is None:
            advice = "add --model FILE"
            return Detection(params), [*problems, Problem("--model", "missing", "a YOLO model in ONNX format", advice)]
        problems += check_model(model, device, classes)
        params = PrepareParams(detector=detector, score=score, classes=tuple(classes), device=device)
        return Detection(params, (model.absolute(),)), problems
    return Detection(params), problems


def _check_unused(detector: Detector, mask: str | None, model: Path | None, classes: Sequence[str]) -> list[Problem]:
    """Return options that the detector ignores: the user probably meant another detector."""
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


def check_codec(options: CleaningOptions) -> list[Problem]:
    """Return the problems of codec and quality."""
    if options.crf is None:
        return []
    if options.codec == "lossless":
        return [Problem("--crf", f"{options.crf:g} with --codec lossless", "no --crf", "omit it")]
    if options.crf > MAX_CRF[options.codec]:
        return [Problem("--crf", f"{options.crf:g}", f"0 to {MAX_CRF[options.codec]} for {options.codec}", "lower it")]
    return []


def check_program(method: Method, command: str | None, devices: int | None) -> list[Problem]:
    """Return the problems of the method ``command`` and its program."""
    if method != "command":
        given = [("--command", command is not None), ("--devices", devices is not None)]
        return [
            Problem(option, f"given with --method {method}", "--method command", "choose one of the two")
            for option, is_given in given
            if is_given
        ]
    if command is None:
        allowed = "a program and its arguments, with {input}, {masks} and {output}"
        return [Problem("--command", "missing, with --method command", allowed, "add the program")]
    problems = check_command(command, "--command")
    if not problems and devices is None and "device" in list_placeholders(command):
        problems.append(Problem("--devices", "missing, with {device}", "the number of devices", "add --devices N"))
    return problems
