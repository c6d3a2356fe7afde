"""The table's declaration agrees with itself, and with the code that fills it."""

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
    arrow_schema,
    markdown,
    mask_text,
)
from tasks.transits.orbit import longest_share
from tasks.transits.unsearchable import Reason as Unsearchable

SUFFIX_OF_UNIT = {"days": "_days", "days in time_system": "_days", "ppm": "_ppm", "solar radii": "_solar"}


def test_there_are_22_features_of_the_box_search_and_5_of_tls() -> None:
    assert (len(BOX_FEATURES), len(TLS_FEATURES), len(FEATURES)) == (22, 5, 27)
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)


def test_a_unit_is_in_the_name() -> None:
    for column in COLUMNS:
        assert column.name.endswith(SUFFIX_OF_UNIT.get(column.unit, "")), column
        if column.name.endswith(("_days", "_ppm")):
            assert column.unit


def test_every_column_says_what_it_is_and_every_feature_where_its_formula_is_from() -> None:
    assert all(column.description for column in COLUMNS)
    assert all(column.source for column in COLUMNS if column.name in FEATURES)


def test_the_schema_has_the_columns_in_their_order_and_the_carried_ones_last() -> None:
    schema = arrow_schema([pa.field("survey", pa.string())])
    assert schema.names == [*(column.name for column in COLUMNS), "survey"]
    assert schema.field("transits_observed").type == pa.int64()
    assert schema.field("depth_ppm").type == pa.float64()
    assert schema.field("stellar_parameters_assumed").type == pa.bool_()
    assert schema.field("false_positive_flags").type == pa.string()


def test_every_word_is_explained_and_fits_into_a_cell() -> None:
    assert list(REASONS) == list(Reason)
    assert list(FLAGS) == list(Flag)
    assert list(flags.CHECKS) == list(Flag)
    assert all(re.fullmatch("[a-z_]+", word) for word in (*Reason, *Flag))


def test_what_makes_a_star_unsearchable_is_a_reason_of_the_table() -> None:
    assert set(Unsearchable.__args__) <= {str(reason) for reason in Reason}


def test_masks_are_said_in_the_order_of_the_columns() -> None:
    masks = {"tls_sde": Reason.NO_TLS_FIT, "snr": Reason.NO_TRANSIT_POINTS}
    assert mask_text(masks) == SEPARATOR.join(["snr=no_transit_points", "tls_sde=no_tls_fit"])
    assert mask_text({}) == ""


@pytest.mark.parametrize(
    ("flag", "threshold"),
    [
        (Flag.WEAK, flags.MIN_PINK_SNR),
        (Flag.FEW_TRANSITS, flags.MIN_TRANSITS),
        (Flag.SINGLE_EVENT, flags.MAX_EVENT_SHARE),
        (Flag.TOO_LONG, round(longest_share(flags.LEAST_AXIS), 3)),
        (Flag.TOO_LONG, flags.LEAST_AXIS),
        (Flag.TOO_LONG, int(flags.MAX_DURATION_RATIO)),
        (Flag.NEAR_ROTATION, int(100 * flags.ROTATION_TOLERANCE)),
        (Flag.ODD_EVEN, int(flags.MAX_ODD_EVEN_SIGMA)),
        (Flag.V_SHAPE, flags.MAX_INGRESS_FRACTION),
        (Flag.TOO_LARGE, int(flags.MAX_RADIUS_EARTH)),
    ],
)
def test_the_texts_state_the_thresholds_that_the_code_has(flag: Flag, threshold: float) -> None:
    assert re.search(rf"(?<![\d.]){re.escape(str(threshold))}(?![\d.]\d)", FLAGS[flag])


def test_the_table_for_people_has_a_row_a_column_and_no_cell_that_breaks_it() -> None:
    lines = markdown(COLUMNS).splitlines()
    assert len(lines) == 2 + len(COLUMNS)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}
