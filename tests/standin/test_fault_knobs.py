"""The knobs themselves: what they default to and what they refuse."""

import pytest

from standin import Faults


def test_every_knob_is_off_by_default():
    off = Faults.none()
    assert off == Faults()
    rates_and_counts = (
        off.duplicates,
        off.duplicate_other_precision,
        off.disorder,
        off.skipped,
        off.skipped_last,
        off.rewritten_objects,
        off.late_objects,
        off.poison,
        off.unregistered,
    )
    assert not any(rates_and_counts)
    assert off.precision_switch_at is None


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"duplicates": 2}, r"Faults\.duplicates is a rate, 0 to 1; got 2"),
        ({"precision_switch_at": -0.1}, r"Faults\.precision_switch_at is a rate"),
        ({"poison": -1}, r"Faults\.poison must not be negative; got -1"),
        ({"poison": 1, "poison_kinds": ()}, "at least one of poison_kinds"),
    ],
)
def test_a_knob_out_of_range_is_a_value_error(knobs, message):
    with pytest.raises(ValueError, match=message):
        Faults(**knobs)
