"""Plan the work on a tape from its diagnosis and the user's options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.engine.contract.stage import get_published_file
from tasks.media.segments.codecs import Codec
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.plan import Segment
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import Survey, load_survey
from tasks.restoration.building import build_chain
from tasks.restoration.chain import Chain
from tasks.restoration.diagnosis_stage import DiagnosedTape
from tasks.restoration.engines.base import get_written_format
from tasks.restoration.options import EngineName, TapeOptions
from tasks.restoration.presets import Preset, Presets, override_preset
from tasks.restoration.work import TapeWork, cut_tape

# Values of similar quality; the scales of the encoders differ.
_DEFAULT_CRF: Mapping[Codec, float] = {"x264": 18, "x265": 20, "svtav1": 24}


@dataclass(frozen=True)
class Recipe:
    """The part of the request that is the same for all tapes.

    overrides   preset keys that the user has changed
    identities  the identity of each engine: see TapeWork
    """

    presets: Presets
    overrides: Mapping[str, str]
    identities: Mapping[EngineName, str]


@dataclass(frozen=True)
class PlannedTape:
    """A tape with its work; ``reason`` explains the choice of the preset."""

    diagnosed: DiagnosedTape
    work: TapeWork
    segments: tuple[Segment, ...]
    reason: str

    @property
    def frames(self) -> int:
        """Number of frames to be written."""
        return int(self.segments[-1].end_frame * self.work.chain.ratio)


def plan_tape(diagnosed: DiagnosedTape, recipe: Recipe, output_dir: Path) -> PlannedTape:
    """Return the plan for a tape.

    Raises InvalidInput if the options do not suit the tape, OSError or BadInput if its survey is missing or damaged.
    """
    options, diagnosis = diagnosed.tape.options, diagnosed.diagnosis
    choice = recipe.presets.choose(options.preset, diagnosis)
    preset = override_preset(choice.preset, recipe.overrides) if recipe.overrides else choice.preset
    chain = build_chain(diagnosis, preset, options.height, options.deinterlace)
    survey = load_survey(get_published_file(output_dir, diagnosed.survey))
    work = TapeWork(
        tape=diagnosed.tape.id,
        folder=f"segments/{diagnosed.tape.id}",
        survey=diagnosed.survey,
        digest=diagnosed.digest,
        chain=chain,
        encoder=choose_encoder(options, preset, chain, survey),
        engine=options.engine,
        identity=recipe.identities[options.engine],
        suffix=diagnosed.containers[options.codec or preset.codec],
        preset=preset.name,
    )
    _check_engine(work)
    return PlannedTape(diagnosed, work, cut_tape(survey, chain, options.segment_seconds), choice.reason)


def choose_encoder(options: TapeOptions, preset: Preset, chain: Chain, survey: Survey) -> EncoderSettings:
    """Return the encoder settings. Raises InvalidInput if the codec does not support the restored frames."""
    codec = options.codec or preset.codec
    crf = options.crf
    if crf is None and codec != "ffv1":
        crf = preset.crf if codec == preset.codec else _DEFAULT_CRF[codec]
    settings = EncoderSettings(codec, crf=crf)
    picture = get_written_format(chain, survey.picture)
    try:
        settings.check(picture)
    except ValueError as error:
        given = f"{codec} with {preset.name}"
        raise InvalidInput([Problem("--codec", given, str(error), _advise(settings, picture))]) from error
    return settings


def _advise(settings: EncoderSettings, picture: PictureFormat) -> str:
    """Return what to do if the codec does not support frames of the format ``picture``."""
    try:
        settings.check(replace(picture, field_order="progressive"))
    except ValueError:
        return "choose another codec, or another preset"
    return "add --deinterlace bwdif, or choose --codec ffv1 or --codec x264, which keep fields"


def _check_engine(work: TapeWork) -> None:
    """Raise InvalidInput if the engine needs whole frames and the chain keeps fields."""
    if work.engine != "ffmpeg" and work.chain.interlaced:
        advice = "use --engine ffmpeg, or another --deinterlace or preset"
        allowed = "ffmpeg if fields are kept"
        raise InvalidInput([Problem("--engine", f"{work.engine} with {work.preset}", allowed, advice)])


def restrict_to_pieces(planned: PlannedTape, folder: str, segments: tuple[Segment, ...]) -> PlannedTape:
    """Return the plan restricted to some segments of the tape, which are written to ``folder``."""
    return replace(planned, work=replace(planned.work, folder=folder), segments=segments)
