"""Presets: how tapes of one kind are restored. Data, in presets.toml and in files of the user's own.

A user's file has the same form. A preset of a known name changes the keys that it gives; a new one names every key,
or the preset that it is ``based_on``. Whatever is wrong is told at once, with the key and what may stand there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
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
    """How a tape is restored.

    deinterlace     what makes frames of fields where the user leaves it to the preset; ``none`` keeps fields
    nnedi_weights   the file that ``nnedi`` reads; FFmpeg comes without it
    denoise         ``temporal`` is atadenoise and then hqdn3d
    denoise_luma, denoise_chroma  strength, times the measured noise: 1 is what the denoiser's author means by it
    least_noise     standard deviation in 8-bit codes; less is left alone
    dedot           whether dot crawl and rainbows are removed: of composite video, which VHS players seldom show
    head_switching  torn lines at the bottom: filled with the last good line, made black, cut off, or kept
    borders         black borders: cut off, or kept
    levels          whether raised black and too bright white are put right, by at most ``most_levels`` 8-bit codes
    sharpen         how much, from 0 to 1.5, with what it does to noise
    height          in square pixels, where the user names none; None keeps the tape's lines
    square_samples  whether frames become square samples where nobody names a height; kept fields never do
    crf             as the encoder understands it; None for its own choice

    Of sound there is nothing here: it is always copied as it is.
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
    def _agrees(self) -> Self:
        if self.codec == "svtav1" and self.pixel_format.startswith("yuv422"):
            raise ValueError(f"svtav1 takes yuv420p and yuv420p10le, not {self.pixel_format}")
        if self.codec == "ffv1" and self.crf is not None:
            raise ValueError("ffv1 is lossless and has no crf; leave crf out")
        return self


class Choice(BaseModel):
    """A preset, and the noise of the luma (8-bit codes) up to which it is the right one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise_below: Annotated[float, Field(gt=0)]
    preset: str


class Automatic(BaseModel):
    """A preset that is chosen by what was measured: the first choice that fits, else ``otherwise``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    choices: tuple[Choice, ...]
    otherwise: str


@dataclass(frozen=True)
class Chosen:
    """A preset, and in one clause why it is this one."""

    preset: Preset
    reason: str


@dataclass(frozen=True)
class Presets:
    """All presets that there are, by name."""

    presets: Mapping[str, Preset]
    automatic: Mapping[str, Automatic]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that may be asked for."""
        return *self.presets, *self.automatic

    def choose(self, name: str, diagnosis: Diagnosis) -> Chosen:
        """The preset ``name``, or what it means for such a tape. Raises InvalidInput for an unknown name."""
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
        """Raises InvalidInput where there is no preset ``name``."""
        if name not in self.names:
            raise InvalidInput([Problem(where, repr(name), ", ".join(self.names))])


def load_presets(*files: Path) -> Presets:
    """The shipped presets, and those of ``files`` over them, the last one foremost.

    Raises InvalidInput with everything that is wrong with any of them.
    """
    problems: list[Problem] = []
    presets: dict[str, dict[str, Any]] = {}
    automatic: dict[str, dict[str, Any]] = {}
    for file in (SHIPPED, *files):
        found = _read(file, problems)
        _merge(presets, found.get("presets", {}), f"{file.name}: presets", problems)
        _merge(automatic, found.get("automatic", {}), f"{file.name}: automatic", problems)
    checked = {name: _checked(Preset, name, values, problems) for name, values in presets.items()}
    chosen = {name: _checked(Automatic, name, values, problems) for name, values in automatic.items()}
    problems += _unknown(chosen, presets)
    if problems:
        raise InvalidInput(problems)
    return Presets(
        {name: preset for name, preset in checked.items() if preset is not None},
        {name: one for name, one in chosen.items() if one is not None},
    )


def override(preset: Preset, values: Mapping[str, Any], where: str = "--set") -> Preset:
    """``preset`` with other ``values``; text stands for numbers and yes or no, too.

    Raises InvalidInput with every key that is unknown or whose value is not allowed.
    """
    problems: list[Problem] = []
    changed = _checked(Preset, preset.name, {**preset.model_dump(), **values}, problems, where)
    if changed is None:
        raise InvalidInput(problems)
    return changed


def _read(file: Path, problems: list[Problem]) -> dict[str, Any]:
    """The tables of ``file``; none where it cannot be read, which becomes a problem."""
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            problems.append(Problem(str(file), "too large", f"at most {_MAX_FILE_BYTES >> 20} MiB of presets"))
            return {}
        found = tomllib.loads(file.read_text(encoding="utf-8"))
    except RecursionError:
        problems.append(Problem(str(file), "nested too deeply", "tables, one a preset", "presets.toml shows the form"))
        return {}
    except OSError as error:
        problems.append(Problem(str(file), error.strerror or str(error), "a file of presets that can be read"))
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(Problem(str(file), str(error), "TOML", "presets.toml shows the form"))
        return {}
    unknown = sorted(found.keys() - {"presets", "automatic"})
    problems += [Problem(f"{file.name}: {name}", "unknown table", "presets, automatic") for name in unknown]
    return found


def _merge(into: dict[str, dict[str, Any]], found: Any, where: str, problems: list[Problem]) -> None:
    """Put the presets of one file over those of the files before it."""
    if not isinstance(found, dict):
        problems.append(Problem(where, repr(found), "tables, one a preset"))
        return
    for name, values in found.items():
        if not isinstance(values, dict):
            problems.append(Problem(f"{where}.{name}", repr(values), "a table"))
            continue
        base = str(values.get(_BASE, name))
        if _BASE in values and base not in into:
            problems.append(Problem(f"{where}.{name}.{_BASE}", repr(base), ", ".join(into)))
        own = {key: value for key, value in values.items() if key != _BASE}
        into[name] = {**into.get(base, {}), **own, "name": name}


def _checked(
    model: type[_Model], name: str, values: Mapping[str, Any], problems: list[Problem], where: str = ""
) -> _Model | None:
    """The model of ``values``; None where something is wrong with them, which becomes problems."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems += [_problem(found, where or name, model) for found in error.errors()]
        return None


def _problem(found: ErrorDetails, where: str, model: type[BaseModel]) -> Problem:
    """One of Pydantic's findings, in our words."""
    key = ".".join(str(part) for part in found["loc"])
    if found["type"] == "extra_forbidden":
        return Problem(f"{where}.{key}", "unknown key", ", ".join(model.model_fields))
    if found["type"] == "missing":
        return Problem(f"{where}.{key}", "missing", "a value", f"give it, or the preset that this one is {_BASE}")
    if found["type"] == "value_error":
        return Problem(where, "keys that do not go together", str(found["ctx"]["error"]))
    return Problem(f"{where}.{key}", repr(found["input"]), found["msg"].removeprefix("Input should be "))


def _unknown(automatic: Mapping[str, Automatic | None], presets: Mapping[str, Any]) -> list[Problem]:
    """What automatic presets choose though there is no such preset; and names that stand for two."""
    allowed = ", ".join(presets)
    wrong = [
        Problem(f"{name}.choices", repr(choice), allowed)
        for name, one in automatic.items()
        for choice in ([*(choice.preset for choice in one.choices), one.otherwise] if one else ())
        if choice not in presets
    ]
    twice = automatic.keys() & presets.keys()
    return wrong + [Problem(name, "both a preset and an automatic one", "one of the two") for name in sorted(twice)]
