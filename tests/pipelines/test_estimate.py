"""What an estimate says follows from what it measured."""

from dataclasses import replace

import pytest

from pipelines import estimate
from pipelines.config.composing import compose_settings
from pipelines.config.schema import read
from pipelines.estimate import Costs, lines, main

FAST = ("+exp=agent57_corridor", "+debug=smoke", "env.length=6", "meta.arms.n=4")
COSTS = Costs(act=1e-3, store=1e-5, draw=1e-2, learn=3e-2, updates=0.01, sent=2000, weights=4e6, push=1e-9, pushes=1e-3)


def test_the_learner_pays_for_storing_and_for_its_share_of_an_update():
    assert COSTS.learner == pytest.approx(1e-5 + 0.01 * 4e-2)
    assert replace(COSTS, push=0.2).learner == pytest.approx(1e-5 + 0.01 * 4e-2 + 2e-4)


def test_workers_act_until_the_learner_is_the_limit():
    """1000 frames/s a worker; 1 / 4.1e-4 = 2439 frames/s of the learner, with 2000 bytes each 4.88 MB/s.

    Every thousandth brings a push of 4 MB.
    """
    run = read(compose_settings(FAST)[0])
    table = [line.split() for line in lines(run, COSTS) if line.split()[:1] in (["1"], ["2"], ["4"], ["64"])]
    n = run.collector.num_envs
    assert table == [
        ["1", str(n), "1,000", "2.00", "4.00", "acting"],
        ["2", str(2 * n), "2,000", "4.00", "8.00", "acting"],
        ["4", str(4 * n), "2,439", "4.88", "9.76", "the", "learner"],
        ["64", str(64 * n), "2,439", "4.88", "9.76", "the", "learner"],
    ]


@pytest.mark.parametrize("words", [(), ("collector=multi_async", "collector.rows=actor", "collector.num_envs=2")])
def test_a_run_is_measured(words, capsys):
    assert main([*FAST, *words]) == 0
    told = capsys.readouterr().out
    assert "act, in 2 environments" in told or not words
    assert "limit\n      1 " in told


def test_too_few_rows_are_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(estimate, "PATIENCE", 2)
    with pytest.raises(SystemExit) as ended:
        main(FAST)
    assert ended.value.code == 2
    assert "replay.length=" in capsys.readouterr().err
