"""What the user may choose about the search for transits. All of it enters the key."""

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
    """How a light curve is prepared, and what is searched in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flux: Annotated[FluxColumn, Field(description="Which flux of the mission's files")] = "pdcsap"
    detrend: Annotated[Detrend, Field(description="How slow variations are removed")] = "biweight"
    window_days: Annotated[float, Field(gt=0, le=100, description="Window of the detrending, in days")] = 1.0
    run_bls: Annotated[bool, Field(description="Search boxes (BLS)")] = True
    run_tls: Annotated[bool, Field(description="Search transit shapes (TLS)")] = True
    tls_scope: Annotated[TlsScope, Field(description="TLS around the peaks of BLS, or over all periods")] = "peaks"
    min_period: Annotated[float, Field(ge=MIN_PERIOD_DAYS, le=MAX_PERIOD_DAYS, description="In days")] = 0.6
    max_period: Annotated[
        float | None, Field(gt=0, le=MAX_PERIOD_DAYS, description="In days; by default the whole baseline")
    ] = None
    max_planets: Annotated[int, Field(ge=1, le=10, description="Candidates a star, at most")] = 3
    min_sde: Annotated[float, Field(ge=0, description="A weaker peak is no candidate")] = 10.5
    min_snr: Annotated[float, Field(ge=0, description="A fainter signal, in pink noise, is no candidate")] = 7.1
    plots: Annotated[bool, Field(description="Draw a picture of each star")] = True


def params_problems(run_bls: bool, run_tls: bool, min_period: float, max_period: float | None) -> list[Problem]:
    """What no single parameter shows to be wrong."""
    problems = []
    if not (run_bls or run_tls):
        problems.append(Problem("--run-bls, --run-tls", "neither", "one of them, or both", "leave one of them on"))
    if max_period is not None and max_period <= min_period:
        allowed = f"more than --min-period {min_period:g}"
        problems.append(Problem("--max-period", f"{max_period:g}", allowed, "raise it, or lower --min-period"))
    return problems
