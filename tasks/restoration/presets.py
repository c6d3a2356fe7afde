"""Presets: how tapes of one kind are restored. They are read from presets.toml and from the user's preset files.

A user's file has the same form as presets.toml. A preset with an existing name overrides single keys; a new preset
sets every key, or names the preset that it is ``based_on``. All errors are reported together, with key and allowed
values.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import ErrorDetails

from tasks.engine.contract.errors import InvalidInput, Problem
from tasks.media.segments.codecs import Codec
from tasks.restoration.diagnosis import Diagnosis

Deinterlacer = Literal["bwdif", "nnedi", "estdif", "none"]
Deinterlace = Literal["auto", Deinterlacer]  # auto: the preset's
Denoiser = Literal["none", "temporal", "hqdn3d", "atadenoise", "vaguedenoiser", "fftdnoiz", "nlmeans"]
HeadSwitching = Literal["fill", "black", "crop", "keep"]
Borders = Literal["crop", "keep"]
Scaler = Literal["bicubic", "lanczos", "spline"]
PixelFormat = Literal["yuv420p", "yuv422p", "yuv420p10le", "yuv422p10le"]

SHIPPED = Path(__file__).with_name("presets.toml")
_BASE = "based_on"
_MAX_FILE_BYTES = 1 << 20
_Model = TypeVar("_Model", bound=BaseModel)


class Preset(BaseModel):
    """How a tape is restored. Audio is always copied, so there is no key for it.

    deinterlace     the deinterlacer, unless the user chooses one; ``none`` keeps fields
    nnedi_weights   the file of weights for ``nnedi``, which is not part of FFmpeg
    denoise         ``temporal`` is atadenoise followed by hqdn3d
    denoise_luma, denoise_chroma  strength relative to the measured noise; 1 is the denoiser's nominal strength
    least_noise     minimum noise to remove: standard deviation in 8-bit codes
    dedot           remove dot crawl and rainbows, which composite video has and VHS players seldom show
    head_switching  torn lines at the bottom: fill them with the last good line, blacken, crop or keep them
    borders         black borders: crop or keep them
    levels          correct raised black and too bright white, by at most ``most_levels`` 8-bit codes
    sharpen         strength of sharpening, from 0 to 1.5
    height          in square pixels, unless the user chooses one; None keeps the tape's height
    square_samples  convert to square pixels even if no height is chosen; never if fields are kept
    crf             quality on the encoder's scale; None for the encoder's default
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    deinterlace: Deinterlacer
    nnedi_weights: Path | None = None
    denoise: Denoiser
    denoise_luma: Annotated[float, Field(ge=0, le=10)]
    denoise_chroma: Annotated[float, Field(ge=0, le=10)]
    least_noise: Annotated[float, Field(ge=0, le=50)]
    dedot: bool
    chroma_shift: bool
    head_switching: HeadSwitching
    borders: Borders = "keep"
    levels: bool
    most_levels: Annotated[float, Field(ge=0, le=64)]
    sharpen: Annotated[float, Field(ge=0, le=1.5)]
    scaler: Scaler
    height: Annotated[int, Field(ge=120, le=4320, multiple_of=2)] | None = None
    square_samples: bool = True
    pixel_format: PixelFormat
    codec: Codec
    crf: Annotated[float, Field(ge=0, le=63)] | None = None

    @model_validator(mode="after")
    def _check_codec(self) -> Self:
        if self.codec == "svtav1" and self.pixel_format.startswith("yuv422"):
            raise ValueError(f"svtav1 takes yuv420p and yuv420p10le, not {self.pixel_format}")
        if self.codec == "ffv1" and self.crf is not None:
            raise ValueError("ffv1 is lossless and has no crf; leave crf out")
        return self


# The patterns make Prefect's form reject other texts at once.
Override = Annotated[str, WithJsonSchema({"type": "string", "pattern": f"^({'|'.join(Preset.model_fields)})="})]
PresetNames = Annotated[str, WithJsonSchema({"type": "string", "pattern": r"[^\s,]"})]


class Choice(BaseModel):
    """A preset, and the luma noise (8-bit codes) below which it is chosen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise_below: Annotated[float, Field(gt=0)]
    preset: str


class Automatic(BaseModel):
    """A preset chosen by the measured noise: the first choice that fits, else ``otherwise``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    choices: tuple[Choice, ...]
    otherwise: str


@dataclass(frozen=True)
class Chosen:
    """A preset and the reason for it, in one clause."""

    preset: Preset
    reason: str


@dataclass(frozen=True)
class Presets:
    """All presets by name."""

    presets: Mapping[str, Preset]
    automatic: Mapping[str, Automatic]

    @property
    def names(self) -> tuple[str, ...]:
        """All names that the user may choose."""
        return *self.presets, *self.automatic

    def choose(self, name: str, diagnosis: Diagnosis) -> Chosen:
        """Return the preset ``name``, or the one that it selects for this tape.

        Raises InvalidInput for an unknown name.
        """
        self.check(name)
        if name in self.presets:
            return Chosen(self.presets[name], "asked for")
        automatic, noise = self.automatic[name], diagnosis.noise_luma
        for choice in automatic.choices:
            if noise < choice.noise_below:
                reason = f"noise of {noise:.1f} is below {choice.noise_below:g}"
                return Chosen(self.presets[choice.preset], reason)
        return Chosen(self.presets[automatic.otherwise], f"noise of {noise:.1f}, more than the others are for")

    def check(self, name: str, where: str = "--preset") -> None:
        """Raise InvalidInput if there is no preset ``name``."""
        if name not in self.names:
            raise InvalidInput([Problem(where, repr(name), ", ".join(self.names))])


def load_presets(*files: Path) -> Presets:
    """Return the shipped presets, overridden by those of ``files``; later files override earlier ones.

    Raises InvalidInput with all errors in all files.
    """
    problems: list[Problem] = []
    presets: dict[str, dict[str, Any]] = {}
    automatic: dict[str, dict[str, Any]] = {}
    for file in (SHIPPED, *files):
        tables = _read(file, problems)
        _merge(presets, tables.get("presets", {}), f"{file.name}: presets", problems)
        _merge(automatic, tables.get("automatic", {}), f"{file.name}: automatic", problems)
    checked = {name: _validate(Preset, name, values, problems) for name, values in presets.items()}
    chosen = {name: _validate(Automatic, name, values, problems) for name, values in automatic.items()}
    problems += _find_bad_choices(chosen, presets)
    if problems:
        raise InvalidInput(problems)
    return Presets(
        {name: preset for name, preset in checked.items() if preset is not None},
        {name: entry for name, entry in chosen.items() if entry is not None},
    )


def override_preset(preset: Preset, values: Mapping[str, Any], where: str = "--set") -> Preset:
    """Return ``preset`` with other ``values``, which may be strings for numbers and booleans, too.

    Raises InvalidInput with every unknown key and every value that is not allowed.
    """
    problems: list[Problem] = []
    changed = _validate(Preset, preset.name, {**preset.model_dump(), **values}, problems, where)
    if changed is None:
        raise InvalidInput(problems)
    return changed


def _read(file: Path, problems: list[Problem]) -> dict[str, Any]:
    """Return the tables of ``file``; empty if it cannot be read, which is added to ``problems``."""
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            problems.append(Problem(str(file), "too large", f"at most {_MAX_FILE_BYTES >> 20} MiB of presets"))
            return {}
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        problems.append(Problem(str(file), "nested too deeply", "one table per preset", "presets.toml shows the form"))
        return {}
    except OSError as error:
        problems.append(Problem(str(file), error.strerror or str(error), "a file of presets that can be read"))
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(Problem(str(file), str(error), "TOML", "presets.toml shows the form"))
        return {}
    unknown = sorted(tables.keys() - {"presets", "automatic"})
    problems += [Problem(f"{file.name}: {name}", "unknown table", "presets, automatic") for name in unknown]
    return tables


def _merge(into: dict[str, dict[str, Any]], tables: Any, where: str, problems: list[Problem]) -> None:
    """Override ``into`` with the presets of one file."""
    if not isinstance(tables, dict):
        problems.append(Problem(where, repr(tables), "one table per preset"))
        return
    for name, values in tables.items():
        if not isinstance(values, dict):
            problems.append(Problem(f"{where}.{name}", repr(values), "a table"))
            continue
        base = str(values.get(_BASE, name))
        if _BASE in values and base not in into:
            problems.append(Problem(f"{where}.{name}.{_BASE}", repr(base), ", ".join(into)))
        own = {key: value for key, value in values.items() if key != _BASE}
        into[name] = {**into.get(base, {}), **own, "name": name}


def _validate(
    model: type[_Model], name: str, values: Mapping[str, Any], problems: list[Problem], where: str = ""
) -> _Model | None:
    """Return the validated model; None if ``values`` are invalid, which is added to ``problems``."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems += [_convert_error(details, where or name, model) for details in error.errors()]
        return None


def _convert_error(details: ErrorDetails, where: str, model: type[BaseModel]) -> Problem:
    """Convert an error of Pydantic to a Problem."""
    key = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        return Problem(f"{where}.{key}", "unknown key", ", ".join(model.model_fields))
    if details["type"] == "missing":
        return Problem(f"{where}.{key}", "missing", "a value", f"give it, or the preset that this one is {_BASE}")
    if details["type"] == "value_error":
        return Problem(where, "keys that do not go together", str(details["ctx"]["error"]))
    return Problem(f"{where}.{key}", repr(details["input"]), details["msg"].removeprefix("Input should be "))


def _find_bad_choices(automatic: Mapping[str, Automatic | None], presets: Mapping[str, Any]) -> list[Problem]:
    """Return problems for choices of unknown presets, and for names that are used twice."""
    allowed = ", ".join(presets)
    problems = [
        Problem(f"{name}.choices", repr(choice), allowed)
        for name, entry in automatic.items()
        for choice in ([*(choice.preset for choice in entry.choices), entry.otherwise] if entry else ())
        if choice not in presets
    ]
    twice = automatic.keys() & presets.keys()
    return problems + [Problem(name, "both a preset and an automatic one", "one of the two") for name in sorted(twice)]
