"""Builds the table rows of one star: its identity, its candidates, and the reasons for missing features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.transits.candidate import Candidate
from tasks.transits.columns import SEPARATOR, EphemerisUse, Origin, format_masks
from tasks.transits.features import Features, mask_all_features
from tasks.transits.features.values import PPM
from tasks.transits.flags import find_false_positive_flags, format_flags
from tasks.transits.given import Ephemeris
from tasks.transits.light_curve import TIME_ZERO_DAYS, LightCurve, PreparedLightCurve, Star
from tasks.transits.matching import Match


def build_candidate_row(
    target: Mapping[str, Any],
    curve: PreparedLightCurve,
    candidate: Candidate,
    features: Features,
    candidates: Sequence[Candidate],
    match: Match | None = None,
) -> dict[str, Any]:
    """Build the row of one of a star's ``candidates``. ``target``: the payload of its item."""
    flags = find_false_positive_flags(curve, candidate, features, candidates)
    return {
        **_build_star_columns(target, curve, curve, len(candidates)),
        "candidate_number": candidate.number,
        **features.values,
        "false_positive_flags": format_flags(flags),
        "mask_reasons": format_masks(features.masks),
        "origin": str(Origin.SEARCH),
        "match": match.number if match else None,
        "harmonic": match.harmonic if match else None,
        "dump_or_edge_share": features.evidence.disturbed_share,
    }


def build_masked_row(
    target: Mapping[str, Any], observed: LightCurve | None, curve: PreparedLightCurve | None, reason: str
) -> dict[str, Any]:
    """Build the row of a star without a candidate: all features masked for one reason."""
    features = mask_all_features(reason)
    columns = _build_star_columns(target, observed, curve, 0)
    return {
        **columns,
        "candidate_number": None,
        **features.values,
        "false_positive_flags": None,
        "mask_reasons": format_masks(features.masks),
        "origin": str(Origin.SEARCH),
    }


def mark_as_given(
    row: Mapping[str, Any], number: int, given: Ephemeris, use: EphemerisUse | None, candidates: int
) -> dict[str, Any]:
    """Return the row of a given candidate, with the values of the target list. ``candidates``: found by the search."""
    zero = TIME_ZERO_DAYS.get(row["time_system"] or "")
    has_epoch = given.epoch_bjd is not None and zero is not None
    return {
        **row,
        "candidate_number": number,
        "candidates": candidates,
        "origin": str(Origin.GIVEN),
        "ephemeris": None if use is None else str(use),
        "given_period_days": given.period_days,
        "given_transit_time_days": given.epoch_bjd - zero if has_epoch else None,  # type: ignore[operator]
        "given_duration_days": given.duration_days,
        "given_depth_ppm": None if given.depth is None else given.depth * PPM,
    }


def _build_star_columns(
    target: Mapping[str, Any],
    observed: LightCurve | PreparedLightCurve | None,
    curve: PreparedLightCurve | None,
    candidates: int,
) -> dict[str, Any]:
    segments = observed.segments if observed else ()
    star = observed.star if observed else Star(**target["star"])
    return {
        "target_id": target["name"],
        "mission": target["mission"] or (segments[0].mission if segments else ""),
        "segments": SEPARATOR.join(segment.name for segment in segments),
        "time_system": segments[0].time_system if segments else None,
        "candidates": candidates,
        "stellar_radius_solar": 1.0 if star.radius is None else star.radius,
        "stellar_mass_solar": 1.0 if star.mass is None else star.mass,
        "stellar_parameters_assumed": star.radius is None or star.mass is None,
        "rotation_period_days": curve.rotation_days if curve else None,
        "pipelines": SEPARATOR.join(dict.fromkeys(segment.author for segment in segments)),
    }
