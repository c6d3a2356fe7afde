"""The declaration of the table is consistent, and agrees with the code that fills it."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from tasks.transits import flags
from tasks.transits.columns import (
    BOX_FEATURES,
    COLUMNS,
    FEATURES,
    FLAGS,
    REASONS,
    SEPARATOR,
    TLS_FEATURES,
    Flag,
    Reason,
    build_arrow_schema,
    format_markdown,
    format_masks,
)
from tasks.transits.orbit import compute_max_transit_share
from tasks.transits.unsearchable import Reason as Unsearchable

SUFFIX_OF_UNIT = {"days": "_days", "days in time_system": "_days", "ppm": "_ppm", "solar radii": "_solar"}


def test_there_are_22_features_of_the_box_search_and_5_of_tls() -> None:
    assert (len(BOX_FEATURES), len(TLS_FEATURES), len(FEATURES)) == (22, 5, 27)
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)


def test_column_names_end_in_their_unit() -> None:
    for column in COLUMNS:
        assert column.name.endswith(SUFFIX_OF_UNIT.get(column.unit, "")), column
        if column.name.endswith(("_days", "_ppm")):
            assert column.unit


def test_columns_have_descriptions_and_features_have_sources() -> None:
    assert all(column.description for column in COLUMNS)
    assert all(column.source for column in COLUMNS if column.name in FEATURES)


def test_schema_has_columns_in_order_and_carried_ones_last() -> None:
    schema = build_arrow_schema([pa.field("survey", pa.string())])
    assert schema.names == [*(column.name for column in COLUMNS), "survey"]
    assert schema.field("transits_observed").type == pa.int64()
    assert schema.field("depth_ppm").type == pa.float64()
    assert schema.field("stellar_parameters_assumed").type == pa.bool_()
    assert schema.field("false_positive_flags").type == pa.string()


def test_every_reason_and_flag_is_explained() -> None:
    assert list(REASONS) == list(Reason)
    assert list(FLAGS) == list(Flag)
    assert list(flags.CHECKS) == list(Flag)
    assert all(re.fullmatch("[a-z_]+", word) for word in (*Reason, *Flag))


def test_unsearchable_reasons_are_reasons_of_the_table() -> None:
    assert set(Unsearchable.__args__) <= {str(reason) for reason in Reason}


def test_masks_are_in_the_order_of_the_columns() -> None:
    masks = {"tls_sde": Reason.NO_TLS_FIT, "snr": Reason.NO_TRANSIT_POINTS}
    assert format_masks(masks) == SEPARATOR.join(["snr=no_transit_points", "tls_sde=no_tls_fit"])
    assert format_masks({}) == ""


@pytest.mark.parametrize(
    ("flag", "threshold"),
    [
        (Flag.WEAK, flags.MIN_PINK_SNR),
        (Flag.FEW_TRANSITS, flags.MIN_TRANSITS),
        (Flag.SINGLE_EVENT, flags.MAX_EVENT_SHARE),
        (Flag.TOO_LONG, round(compute_max_transit_share(flags.MIN_AXIS), 3)),
        (Flag.TOO_LONG, flags.MIN_AXIS),
        (Flag.TOO_LONG, int(flags.MAX_DURATION_RATIO)),
        (Flag.NEAR_ROTATION, int(100 * flags.ROTATION_TOLERANCE)),
        (Flag.ODD_EVEN, int(flags.MAX_ODD_EVEN_SIGMA)),
        (Flag.V_SHAPE, flags.MAX_INGRESS_FRACTION),
        (Flag.TOO_LARGE, int(flags.MAX_RADIUS_EARTH)),
    ],
)
def test_flag_texts_state_the_thresholds_of_the_code(flag: Flag, threshold: float) -> None:
    assert re.search(rf"(?<![\d.]){re.escape(str(threshold))}(?![\d.]\d)", FLAGS[flag])


def test_markdown_table_has_one_row_per_column_and_escapes_cells() -> None:
    lines = format_markdown(COLUMNS).splitlines()
    assert len(lines) == 2 + len(COLUMNS)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}
