"""Declares the table of features: all columns in order, and the words that their cells may contain.

All other places follow this declaration: the schema, the masked row, the documentation and its test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa

Type: TypeAlias = Literal["string", "int64", "float64", "bool"]

SEPARATOR = ";"  # between the words of a cell
_PREFIX = "target_list_"  # of a copied column with the name of a declared one


class Reason(StrEnum):
    """Reasons why a feature has no value. The first six apply to a whole star."""

    FAILED = "failed"
    NO_CANDIDATE = "no_candidate"
    TOO_FEW_POINTS = "too_few_points"
    CONSTANT_FLUX = "constant_flux"
    NONPOSITIVE_FLUX = "nonpositive_flux"
    SHORT_BASELINE = "short_baseline"
    NO_GIVEN_PERIOD = "no_given_period"
    NO_TRANSIT_POINTS = "no_transit_points"
    NO_OUT_OF_TRANSIT_POINTS = "no_out_of_transit_points"
    NO_DIMMING = "no_dimming"
    NO_NOISE_ESTIMATE = "no_noise_estimate"
    NO_ODD_TRANSITS = "no_odd_transits"
    NO_EVEN_TRANSITS = "no_even_transits"
    NO_ROOM_FOR_SECONDARY = "no_room_for_secondary"
    NO_SECONDARY_COVERAGE = "no_secondary_coverage"
    INSIDE_STAR = "inside_star"
    SINGLE_TRANSIT = "single_transit"
    NOT_MEASURED = "not_measured"
    NO_TLS_FIT = "no_tls_fit"
    UNDEFINED = "undefined"


REASONS: Mapping[Reason, str] = {
    Reason.FAILED: "the star failed; `failure` has the reason",
    Reason.NO_CANDIDATE: "the search found no signal above the threshold",
    Reason.TOO_FEW_POINTS: "too few cadences of good quality to search in",
    Reason.CONSTANT_FLUX: "the flux does not scatter at all, so it cannot be searched",
    Reason.NONPOSITIVE_FLUX: "the median flux is zero or negative: a transit would be a brightening",
    Reason.SHORT_BASELINE: "no room for two transits of the shortest period",
    Reason.NO_GIVEN_PERIOD: "the target list gives no period for this candidate",
    Reason.NO_TRANSIT_POINTS: "no point lies in a transit",
    Reason.NO_OUT_OF_TRANSIT_POINTS: "no point is more than a duration away from every mid-transit, so the "
    "out-of-transit level is unknown",
    Reason.NO_DIMMING: "the flux is not lower in transit, so the depth has no square root",
    Reason.NO_NOISE_ESTIMATE: "fewer than ten out-of-transit bins of one transit duration, too few to estimate the "
    "noise on that time scale",
    Reason.NO_ODD_TRANSITS: "no odd-numbered transit has enough points",
    Reason.NO_EVEN_TRANSITS: "no even-numbered transit has enough points",
    Reason.NO_ROOM_FOR_SECONDARY: "the period is less than three durations, so no phase is clear of the transit",
    Reason.NO_SECONDARY_COVERAGE: "no point lies at phases clear of the transit",
    Reason.INSIDE_STAR: "an orbit of this period would lie inside the star",
    Reason.SINGLE_TRANSIT: "one transit has no period, and no feature that needs it",
    Reason.NOT_MEASURED: "the search could not measure it, such as a period uncertainty that the data do not constrain",
    Reason.NO_TLS_FIT: "transit least squares was off, or could not fit this signal",
    Reason.UNDEFINED: "the formula has no finite value for these points, or needs too much memory",
}


class Flag(StrEnum):
    """Reasons why a candidate may not be a planet."""

    WEAK = "weak"
    FEW_TRANSITS = "few_transits"
    SINGLE_EVENT = "single_event"
    NOT_UNIQUE = "not_unique"
    TOO_LONG = "too_long"
    NEAR_ROTATION = "near_rotation"
    ODD_EVEN = "odd_even"
    SECONDARY = "secondary"
    HALF_PERIOD = "half_period"
    V_SHAPE = "v_shape"
    TOO_LARGE = "too_large"
    SAME_PERIOD = "same_period"
    TOO_DEEP = "too_deep"
    AT_DUMPS_OR_EDGES = "at_dumps_or_edges"


# Thresholds are named constants of flags.py; a test compares them to these texts.
FLAGS: Mapping[Flag, str] = {
    Flag.WEAK: "pink-noise signal-to-noise below 7.1 (Jenkins et al. 2002; Thompson et al. 2018)",
    Flag.FEW_TRANSITS: "fewer than 3 transits observed: the period may be wrong (Thompson et al. 2018)",
    Flag.SINGLE_EVENT: "one transit has more than 0.8 of the combined signal-to-noise (two equal transits: 0.71 each; "
    "Thompson et al. 2018; Kunimoto et al. 2025)",
    Flag.NOT_UNIQUE: "elsewhere in the folded light curve a dip or a brightening is almost as significant as the "
    "transit (model-shift, Thompson et al. 2018; margins of Kunimoto et al. 2025)",
    Flag.TOO_LONG: "in transit for more than 0.232 of the period, the maximum of a circular orbit at 1.5 stellar "
    "radii; or, if radius and mass are given, more than 2 times as long as a central transit (Kunimoto et al. 2025)",
    Flag.NEAR_ROTATION: "the period is within 5 % of half, once, twice or three times the star's rotation period "
    "(after the SWEET test, Thompson et al. 2018)",
    Flag.ODD_EVEN: "odd and even depths differ by more than 3 sigma: an eclipsing binary at half its "
    "period (Kunimoto et al. 2025)",
    Flag.SECONDARY: "a significant and unique dip at another phase that no planet's reflected light explains "
    "(model-shift, Thompson et al. 2018)",
    Flag.HALF_PERIOD: "a second dip at phase 0.5, as deep as the transit within 3 sigma: the true period may be half "
    "of it (Thompson et al. 2018)",
    Flag.V_SHAPE: "ingress and egress each take more than 0.4 of the transit, beyond the uncertainty and the cadence: "
    "a grazing eclipse (the impact parameter and the radius ratio add to about 1, Seager & Mallén-Ornelas 2003)",
    Flag.TOO_LARGE: "with the star's given radius, larger than 25 Earth radii (Kunimoto et al. 2025)",
    Flag.SAME_PERIOD: "the same period as an earlier candidate, to within a duration over the whole light curve: its "
    "secondary eclipse, or a residual of it (Thompson et al. 2018)",
    Flag.TOO_DEEP: "deeper than 10 % of a star of unknown radius: known planets block up to 7 % of main-sequence stars "
    "(TOI-5205 b, Kanodia et al. 2023)",
    Flag.AT_DUMPS_OR_EDGES: "at least 0.5 of the observed transits are at momentum dumps, scattered light or edges of "
    "gaps, and chance has a probability below 0.01",
}


@dataclass(frozen=True)
class Column:
    """One column of the table.

    unit    for people; empty if the column has no unit
    source  of the formula or the value
    """

    name: str
    type: Type
    unit: str
    description: str
    source: str


_TARGETS = "the target list"
_FILES = "the light curve's files"
_SEARCH = "the search"

IDENTITY = (
    Column("target_id", "string", "", "Name of the star in the target list, else of its file", _TARGETS),
    Column("mission", "string", "", "`TESS`, `Kepler` or `K2`", f"{_TARGETS}, else {_FILES}"),
    Column("label", "string", "", "Label from the target list", _TARGETS),
    Column("files", "int64", "", "Number of light curve files of this star", _FILES),
    Column("path", "string", "", f"Paths of the files below `--light-curves`, joined by `{SEPARATOR}`", _FILES),
    Column("segments", "string", "", f"Sectors, quarters or campaigns used, joined by `{SEPARATOR}`", _FILES),
    Column("time_system", "string", "", "Zero point of all times: `BTJD`, `BKJD` or `BJD`", _FILES),
    Column("candidate_number", "int64", "", "1 for the first signal found; empty for a star without any", _SEARCH),
    Column("candidates", "int64", "", "Number of signals found in this star", _SEARCH),
    Column("stellar_radius_solar", "float64", "solar radii", "Radius used; 1 if assumed", _TARGETS),
    Column("stellar_mass_solar", "float64", "solar masses", "Mass used; 1 if assumed", _TARGETS),
    Column(
        "stellar_parameters_assumed",
        "bool",
        "",
        "True if radius or mass is unknown, and the density of the Sun is used",
        _TARGETS,
    ),
)

_BOX = "Kovács, Zucker & Mazeh 2002"
_PONT = "Pont, Zucker & Queloz 2006"
_VETTER = "Thompson et al. 2018"

BOX_FEATURES = (
    Column("period_days", "float64", "days", "Period at the peak, harmonics resolved", f"{_BOX}; Ofir 2014"),
    Column("period_uncertainty_days", "float64", "days", "One-sigma uncertainty of the period", _SEARCH),
    Column(
        "transit_time_days",
        "float64",
        "days in time_system",
        "Mid-transit of the first transit at or after the light curve's start",
        _BOX,
    ),
    Column("duration_days", "float64", "days", "First to fourth contact (T14)", _BOX),
    Column(
        "depth_ppm",
        "float64",
        "ppm",
        "Depth of the trapezoid's floor below the level, by least squares with weights 1/noise²; the level is the mean "
        "more than a duration from mid-transit",
        f"{_BOX}, with a trapezoid's sides",
    ),
    Column(
        "depth_uncertainty_ppm",
        "float64",
        "ppm",
        "One sigma in white noise, including that of the level: √(1/W + (L/W)²/W_out), W the sum of s²/noise², L of "
        "s/noise², W_out of 1/noise² outside, s the trapezoid's shape from 0 to 1",
        _BOX,
    ),
    Column(
        "radius_ratio",
        "float64",
        "",
        "Planet radius over star radius: √depth, without corrections for limb darkening and blended light",
        "Seager & Mallén-Ornelas 2003",
    ),
    Column("snr", "float64", "", "depth_ppm over depth_uncertainty_ppm: white noise", f"{_BOX}; Pont et al. 2006"),
    Column(
        "pink_noise_snr",
        "float64",
        "",
        "Depth over √(1/W + σ_r² Σ L_k²/W²) and the level's uncertainty, k the transits; σ_r² is the robust variance "
        "of the means of out-of-transit bins of one transit duration, in excess of white noise",
        _PONT,
    ),
    Column(
        "sde",
        "float64",
        "",
        "Signal detection efficiency: the peak's height over the spectrum's running median, in units of its scatter",
        f"{_BOX}; Hippke & Heller 2019",
    ),
    Column(
        "false_alarm_probability",
        "float64",
        "",
        "1 - (1 - Q(x))^N: Q the upper tail of the normal distribution, x the pink_noise_snr, N = T (P_max - P_min) / "
        "duration² independent trials in the baseline T. Assumes that the residual noise is normal. At least 2.2e-308, "
        "the smallest normal double",
        "Jenkins, Caldwell & Borucki 2002",
    ),
    Column(
        "transits_expected",
        "int64",
        "",
        "Transits of which at least a third lies between the first and the last point",
        _VETTER,
    ),
    Column(
        "transits_observed",
        "int64",
        "",
        "Expected transits with at least a third of the points that the cadence allows for",
        _VETTER,
    ),
    Column("in_transit_points", "int64", "", "Points between first and fourth contact", _BOX),
    Column(
        "odd_depth_ppm",
        "float64",
        "ppm",
        "Depth of the observed 1st, 3rd, 5th, ... transit together, measured as depth_ppm",
        _VETTER,
    ),
    Column("even_depth_ppm", "float64", "ppm", "Depth of the observed 2nd, 4th, 6th, ... transit together", _VETTER),
    Column(
        "odd_even_mismatch_sigma",
        "float64",
        "sigma",
        "|odd - even| over their uncertainties in pink noise; these are scaled up if the single depths scatter more "
        "(external error, with four or more transits)",
        f"{_VETTER}; Pont et al. 2006; Birge 1932",
    ),
    Column(
        "secondary_depth_ppm",
        "float64",
        "ppm",
        "Mean depth of the most significant dip as long as the transit, more than 1.5 durations away from it and not "
        "in another candidate's transit",
        f"{_VETTER}, model-shift",
    ),
    Column(
        "secondary_phase",
        "float64",
        "",
        "Phase of that dip, from 0 to 1; the transit is at 0",
        f"{_VETTER}, model-shift",
    ),
    Column(
        "secondary_significance",
        "float64",
        "sigma",
        "Depth of that dip over its uncertainty in pink noise. As the maximum over many phases, it is 2 to 4 in pure "
        "noise",
        f"{_VETTER}, model-shift; Pont et al. 2006",
    ),
    Column(
        "ingress_fraction",
        "float64",
        "",
        "Ingress over the whole duration, of the best trapezoid: 0 for a box, 0.5 for a V",
        "Seager & Mallén-Ornelas 2003",
    ),
    Column(
        "duration_ratio",
        "float64",
        "",
        "Duration over that of a central transit on a circular orbit, P/π asin((1 + k) R/a), with a/R from the star's "
        "density and Kepler's third law",
        "Seager & Mallén-Ornelas 2003",
    ),
)

_TLS = "Hippke & Heller 2019"

TLS_FEATURES = (
    Column("tls_period_days", "float64", "days", "Period by transit least squares", _TLS),
    Column("tls_sde", "float64", "", "Signal detection efficiency by transit least squares", _TLS),
    Column("tls_depth_ppm", "float64", "ppm", "Depth at mid-transit by transit least squares", _TLS),
    Column(
        "tls_duration_days", "float64", "days", "Duration from first to fourth contact by transit least squares", _TLS
    ),
    Column(
        "tls_chi_square_ratio",
        "float64",
        "",
        "Chi-square of the transit model over that of the best box, in the same points: below 1 for a transit's shape",
        _TLS,
    ),
)

VETTING = (
    Column(
        "false_positive_flags",
        "string",
        "",
        f"Indications against a planet, joined by `{SEPARATOR}`; empty text for none, no value without a candidate",
        "one function per flag",
    ),
    Column(
        "rotation_period_days",
        "float64",
        "days",
        "Strongest period of the flux before detrending",
        "Lomb 1976; Scargle 1982",
    ),
    Column(
        "mask_reasons",
        "string",
        "",
        f"Reasons for features without a value: `feature=reason`, in the order of the columns, joined by `{SEPARATOR}`",
        "",
    ),
)


class Origin(StrEnum):
    """The source of a row."""

    SEARCH = "search"
    GIVEN = "given"
    SINGLE_TRANSIT = "single_transit"


ORIGINS: Mapping[Origin, str] = {
    Origin.SEARCH: "a signal of the blind search, or a star without one",
    Origin.GIVEN: "a candidate of the target list, measured at its ephemeris",
    Origin.SINGLE_TRANSIT: "a dip that does not repeat, with its time, depth, duration and signal-to-noise ratio",
}


class EphemerisUse(StrEnum):
    """How the ephemeris of a row relates to the given one."""

    EXACT = "exact"
    FITTED = "fitted"
    REFINED = "refined"


EPHEMERIS_USES: Mapping[EphemerisUse, str] = {
    EphemerisUse.EXACT: "as given: the light curve shows no transits there that could be fitted (below 7 sigma)",
    EphemerisUse.FITTED: "fitted to the transits, starting at the given values",
    EphemerisUse.REFINED: "found from 0.8 to 1.2 times the given period, because the light curve contradicts the given "
    "values",
}

COMPARISON = (
    Column("origin", "string", "", f"Source of the row: {', '.join(f'`{word}`' for word in Origin)}", ""),
    Column(
        "match",
        "int64",
        "",
        "Number of the same body in the rows of the other origin: for a given candidate that of the signal found, for "
        "a signal that of the given candidate",
        "periods in a ratio of small numbers, and transits at the same times",
    ),
    Column("harmonic", "float64", "", "Period of the match over the period of this row: 1, 2, 0.5, 3, ...", ""),
    Column(
        "ephemeris",
        "string",
        "",
        f"Use of the given ephemeris: {', '.join(f'`{word}`' for word in EphemerisUse)}",
        "",
    ),
    Column("given_period_days", "float64", "days", "Period", _TARGETS),
    Column("given_transit_time_days", "float64", "days in time_system", "Mid-transit time", _TARGETS),
    Column("given_duration_days", "float64", "days", "Duration", _TARGETS),
    Column("given_depth_ppm", "float64", "ppm", "Depth", _TARGETS),
    Column("failure", "string", "", "Kind and reason of the failure of a star without results", "`failures.json`"),
)

DATA = (
    Column(
        "dump_or_edge_share",
        "float64",
        "",
        "Share of the observed transits that overlap a momentum dump, a thruster firing, scattered light, or 0.1 days "
        "at the edge of a gap",
        "quality flags of the missions",
    ),
    Column(
        "pipelines", "string", "", f"Pipelines of the light curves used, joined by `{SEPARATOR}`", "the files' headers"
    ),
)

COLUMNS = (*IDENTITY, *BOX_FEATURES, *TLS_FEATURES, *VETTING, *COMPARISON, *DATA)
FEATURES = tuple(column.name for column in (*BOX_FEATURES, *TLS_FEATURES))  # the 27
_NAMES = frozenset(column.name for column in COLUMNS)


def build_arrow_schema(extra: Iterable[pa.Field] = ()) -> pa.Schema:
    """Return the table's schema; ``extra`` are the columns carried from the target list, which come last."""
    import pyarrow as pa

    own = [pa.field(column.name, pa.type_for_alias(column.type)) for column in COLUMNS]
    return pa.schema([*own, *extra])


def choose_free_names(names: Iterable[str]) -> list[str]:
    """Return each name, with a unique prefixed form for those that a declared column has already."""
    given = list(names)
    taken = {*_NAMES, *given}
    free_list = []
    for name in given:
        free = name
        while free in _NAMES or (free != name and free in taken):
            free = f"{_PREFIX}{free}"
        taken.add(free)
        free_list.append(free)
    return free_list


def format_masks(masks: Mapping[str, str]) -> str:
    """Return the value of the column ``mask_reasons``: ``feature=reason`` in the order of the columns."""
    return SEPARATOR.join(f"{name}={masks[name]}" for name in FEATURES if name in masks)


def format_markdown(columns: Iterable[Column]) -> str:
    """Format the columns as a Markdown table."""
    head = "| column | unit | description | formula and source |\n| --- | --- | --- | --- |\n"
    return head + "".join(
        f"| `{column.name}` | {column.unit} | {_escape_cell(column.description)} | {_escape_cell(column.source)} |\n"
        for column in columns
    )


def _escape_cell(text: str) -> str:
    return text.replace("|", "\\|")
