"""Parameters of the transit search. All of them enter the item's key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.engine.contract.errors import Problem

Detrend = Literal["biweight", "median", "none"]
FluxColumn = Literal["pdcsap", "sap"]
TlsScope = Literal["peaks", "full"]
Source = Literal["mast", "folder"]

MIN_PERIOD_DAYS = 0.1
MAX_PERIOD_DAYS = 2000.0


class TransitParams(BaseModel):
    """Parameters for preparing a light curve and searching it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flux: Annotated[FluxColumn, Field(description="Flux column of the mission's files")] = "pdcsap"
    detrend: Annotated[Detrend, Field(description="Method of detrending")] = "biweight"
    window_days: Annotated[float, Field(gt=0, le=100, description="Detrending window in days")] = 1.0
    run_bls: Annotated[bool, Field(description="Search for boxes (BLS)")] = True
    run_tls: Annotated[bool, Field(description="Search for transit shapes (TLS)")] = True
    tls_scope: Annotated[TlsScope, Field(description="Periods of TLS: near BLS peaks, or all")] = "peaks"
    min_period: Annotated[
        float, Field(ge=MIN_PERIOD_DAYS, le=MAX_PERIOD_DAYS, description="Minimum period in days")
    ] = 0.6
    max_period: Annotated[
        float | None,
        Field(gt=0, le=MAX_PERIOD_DAYS, description="Maximum period in days (default: the whole baseline)"),
    ] = None
    max_planets: Annotated[int, Field(ge=1, le=10, description="Maximum candidates per star")] = 3
    min_sde: Annotated[float, Field(ge=0, description="Minimum SDE of a candidate")] = 10.5
    min_snr: Annotated[
        float, Field(ge=0, description="Minimum signal-to-noise ratio of a candidate, in pink noise")
    ] = 7.1
    plots: Annotated[bool, Field(description="Draw a plot of each star")] = True


def find_params_problems(run_bls: bool, run_tls: bool, min_period: float, max_period: float | None) -> list[Problem]:
    """Return the problems of parameters that conflict with each other."""
    problems = []
    if not (run_bls or run_tls):
        problems.append(Problem("--run-bls, --run-tls", "neither", "one of them, or both", "leave one of them on"))
    if max_period is not None and max_period <= min_period:
        allowed = f"more than --min-period {min_period:g}"
        problems.append(Problem("--max-period", f"{max_period:g}", allowed, "raise it, or lower --min-period"))
    return problems
