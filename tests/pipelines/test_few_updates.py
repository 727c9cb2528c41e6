"""A run that plans too few updates to learn says so before it begins, and presets that learn do not."""

import logging

import pytest

from pipelines.config.check import warn_of_few_updates
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read

MASKED = ("+exp=drqn_cartpole_masked", "replay.batch_rows=10", "replay.length=20", "warmup_frames=1000")


def warned(caplog, *words):
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="recall"):
        warn_of_few_updates(read(compose_settings(words)[0]))
    return caplog.text


@pytest.mark.parametrize(
    ("words", "planned"),
    [
        (("total_frames=101_000", "replay.ratio=1.99"), 995),
        (("total_frames=101_000", "replay.ratio=2"), None),
        (("total_frames=19_999", "replay.ratio=1"), None),  # a trial of the settings
        (("total_frames=20_000", "replay.ratio=1"), 95),
    ],
)
def test_the_sentence_has_the_number_worked_out_by_hand(words, planned, caplog):
    """(total_frames − warmup_frames) · ratio / 200 learned steps of an update."""
    text = warned(caplog, *MASKED, *words)
    assert f"plans about {planned} updates" in text if planned else not text


def test_where_episodes_decide_nothing_is_said(caplog):
    assert not warned(caplog, "+exp=reinforce_cartpole")
