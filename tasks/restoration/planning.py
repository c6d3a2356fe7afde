"""From what is known of a tape, and what the user wants of it, to the work on its segments."""

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
from tasks.restoration.diagnosis_stage import Diagnosed
from tasks.restoration.engines.base import written_format
from tasks.restoration.options import EngineName, TapeOptions
from tasks.restoration.presets import Preset, Presets, override
from tasks.restoration.work import TapeWork, cut_tape

# What looks alike: the encoders count differently.
_USUAL_CRF: Mapping[Codec, float] = {"x264": 18, "x265": 20, "svtav1": 24}


@dataclass(frozen=True)
class Recipe:
    """What is the same for all tapes.

    overrides   keys of the preset that the user has changed
    identities  of what each engine works with, as TapeWork has it
    """

    presets: Presets
    overrides: Mapping[str, str]
    identities: Mapping[EngineName, str]


@dataclass(frozen=True)
class PlannedTape:
    """A tape with its work; ``reason``: why it is this preset."""

    diagnosed: Diagnosed
    work: TapeWork
    segments: tuple[Segment, ...]
    reason: str

    @property
    def frames(self) -> int:
        """That will be written."""
        return int(self.segments[-1].end_frame * self.work.chain.ratio)


def plan_tape(known: Diagnosed, recipe: Recipe, output_dir: Path) -> PlannedTape:
    """What is to be done about a tape.

    Raises InvalidInput if its options cannot be had for such a tape, OSError or BadInput if its survey is missing or
    damaged.
    """
    options, diagnosis = known.tape.options, known.diagnosis
    chosen = recipe.presets.choose(options.preset, diagnosis)
    preset = override(chosen.preset, recipe.overrides) if recipe.overrides else chosen.preset
    chain = build_chain(diagnosis, preset, options.height, options.deinterlace)
    found = load_survey(get_published_file(output_dir, known.survey))
    work = TapeWork(
        tape=known.tape.id,
        folder=f"segments/{known.tape.id}",
        survey=known.survey,
        digest=known.digest,
        chain=chain,
        encoder=encoder_settings(options, preset, chain, found),
        engine=options.engine,
        identity=recipe.identities[options.engine],
        suffix=known.containers[options.codec or preset.codec],
        preset=preset.name,
    )
    _check_engine(work)
    return PlannedTape(known, work, cut_tape(found, chain, options.segment_seconds), chosen.reason)


def encoder_settings(options: TapeOptions, preset: Preset, chain: Chain, found: Survey) -> EncoderSettings:
    """How the restored frames are encoded. Raises InvalidInput where the codec cannot take them."""
    codec = options.codec or preset.codec
    crf = options.crf
    if crf is None and codec != "ffv1":
        crf = preset.crf if codec == preset.codec else _USUAL_CRF[codec]
    settings = EncoderSettings(codec, crf=crf)
    written = written_format(chain, found.picture)
    try:
        settings.check(written)
    except ValueError as error:
        given = f"{codec} with {preset.name}"
        raise InvalidInput([Problem("--codec", given, str(error), _advice(settings, written))]) from error
    return settings


def _advice(settings: EncoderSettings, written: PictureFormat) -> str:
    """What to do where the codec cannot take frames that are ``written`` so."""
    try:
        settings.check(replace(written, field_order="progressive"))
    except ValueError:
        return "choose another codec, or another preset"
    return "add --deinterlace bwdif, or choose --codec ffv1 or --codec x264, which keep fields"


def _check_engine(work: TapeWork) -> None:
    """Raises InvalidInput where the engine needs whole frames and the chain keeps fields."""
    if work.engine != "ffmpeg" and work.chain.interlaced:
        advice = "use --engine ffmpeg, or another --deinterlace or preset"
        allowed = "ffmpeg where fields are kept"
        raise InvalidInput([Problem("--engine", f"{work.engine} with {work.preset}", allowed, advice)])


def piece_of(planned: PlannedTape, folder: str, segments: tuple[Segment, ...]) -> PlannedTape:
    """The same work on some pieces of the tape alone, which go to ``folder``."""
    return replace(planned, work=replace(planned.work, folder=folder), segments=segments)
