"""The warning that rows are mostly padding: when it is said, and when it is not."""

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from modules.callbacks.padding import PaddingSpec

UPDATES = 4
TRAINING = cast("Any", None)


def made():
    replay = SimpleNamespace(settings=SimpleNamespace(length=40))
    return PaddingSpec(updates=UPDATES, share=0.5).build(cast("Any", SimpleNamespace(replay=replay)))


def learn(callback, shares):
    for share in shares:
        callback.on_update(TRAINING, {"replay/padding": share})


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([0.9] * 7, False),  # not before the second four are over
        ([0.9] * 8, True),
        ([0.9] * 4 + [0.5] * 4 + [0.9] * 8, False),  # half is not most, and later ones are not looked at
        ([0.0] * 4 + [0.9, 0.9, 0.1, 0.2], True),
        ([0.9] * 4 + [0.9, 0.9, 0.1, 0.0], False),
    ],
)
def test_the_second_updates_are_looked_at_once(shares, said, caplog):
    callback = made()
    with caplog.at_level(logging.WARNING):
        learn(callback, shares)
        learn(callback, [1.0] * 20 if said else [])
    assert [record.message.split(":")[0] for record in caplog.records] == said * [
        f"{100 * sum(shares[4:8]) / 4:.0f} % of what is learned from is padding"
    ]
    assert "replay.length=40" in caplog.text or not said


def test_it_goes_on_where_it_was(caplog):
    before, after = made(), made()
    learn(before, [0.9] * 6)
    after.load_state_dict(before.state_dict())
    with caplog.at_level(logging.WARNING):
        learn(after, [0.9, 0.7])
    assert "85 %" in caplog.text
