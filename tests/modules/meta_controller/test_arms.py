import math

import pytest
import torch

from modules.meta_controller.arms import ArmsSpec
from modules.spec import UsageError

PAPER = {"n": 32, "beta": 0.3, "gamma_max": 0.9999, "gamma_mid": 0.997, "gamma_min": 0.99}


def arms(ladder, **settings):
    return ArmsSpec(ladder=ladder, **PAPER | settings)


def ngu(n):
    return arms("ngu", n=n, gamma_max=0.997).build()


def near(*values):
    return pytest.approx(list(values), abs=6e-7)  # six decimals, in float32


def test_agent57s_discounts_fall_in_three_branches():
    gamma = arms("agent57").build().gamma
    assert gamma.shape == (32,)
    assert gamma.dtype == torch.float32  # float64 would make losses wider where it is multiplied in
    assert gamma[:11].tolist() == near(
        0.9999, 0.999896, 0.9998, 0.99845, 0.9971, 0.997004, 0.997, 0.997, 0.997, 0.996839, 0.996669
    )
    assert gamma[-3:].tolist() == near(0.990994, 0.99051, 0.99)
    assert (gamma.diff() <= 0).all()
    assert (gamma.diff()[8:] < 0).all()


def test_the_printed_ladder_rises_and_is_wrong():
    """As printed, the most curious arm looks furthest ahead; and the seed starts the branches one arm late."""
    g0, g1, g2 = 0.9999, 0.997, 0.99
    printed = [g1 + (g0 - g1) / (1 + math.exp(-10 * (2 * j - 6) / 6)) for j in range(1, 7)]
    printed += [1 - math.exp((23 * math.log(1 - g1) + (j - 8) * math.log(1 - g2)) / 23) for j in (0, 31)]
    assert printed[:6] == near(0.997004, 0.9971, 0.99845, 0.9998, 0.999896, 0.9999)
    assert printed[7] == pytest.approx(0.99997, abs=5e-6)  # its last arm
    assert printed[6] == pytest.approx(0.98511, abs=5e-6)  # the seed's arm 0, which should exploit
    wrong = torch.tensor([printed[6], *printed[:6], printed[7]])
    difference = arms("agent57").build().gamma[[0, 1, 2, 3, 4, 5, 6, 31]] - wrong
    assert difference[3].abs() < 1e-6  # the middle of the sigmoid is on its own place either way
    assert difference[[0, 1, 2, 4, 5, 6, 7]].abs().min() > 1e-3


def test_ngus_discounts_are_log_spaced():
    assert ngu(2).gamma.tolist() == near(0.997, 0.99)
    assert ngu(3).gamma.tolist() == near(0.997, 1 - math.sqrt(0.003 * 0.01), 0.99)
    gamma = ngu(32).gamma
    assert gamma[[0, 31]].tolist() == near(0.997, 0.99)
    steps = (1 - gamma.double()).log().diff()
    assert steps.tolist() == pytest.approx([math.log(0.01 / 0.003) / 31] * 31, rel=1e-3)
    few = arms("ngu", n=5).build().gamma  # Agent57's span for a small family
    assert few.tolist() == near(*(1 - 10 ** (-4 + i / 2) for i in range(5)))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_the_weights_of_the_intrinsic_reward_by_hand():
    of_32 = ngu(32).beta.tolist()
    assert [of_32[i] for i in (0, 1, 15, 16, 30, 31)] == near(
        0.0, 0.3 * sigmoid(-280 / 30), 0.15, 0.3 * sigmoid(20 / 30), 0.3 * sigmoid(10), 0.3
    )
    assert ngu(8).beta.tolist() == near(  # (2i − 6) / 6 = −2/3, −1/3, 0, 1/3, 2/3, 1 for i = 1 … 6
        0.0, 0.000381, 0.010334, 0.15, 0.289666, 0.299619, 0.299986, 0.3
    )
    assert ngu(2).beta.tolist() == near(0.0, 0.3)
    assert arms("agent57").build().beta.tolist() == of_32


MANY = (10, 11, 12, 32, 100)


@pytest.mark.parametrize(
    ("ladder", "n"), [*(("ngu", n) for n in (*range(1, 10), *MANY)), *(("agent57", n) for n in MANY)]
)
def test_more_curious_arms_never_look_further(ladder, n):
    table = arms(ladder, n=n).build()
    assert len(table.beta) == len(table.gamma) == n
    assert (table.beta.diff() >= 0).all()
    assert (table.gamma.diff() <= 0).all()
    assert table.gamma[0].item() == pytest.approx(0.9999)
    assert table.beta[-1].item() == pytest.approx(0.3)
    assert n == 1 or (table.beta[0] == 0 and table.gamma[-1].item() == pytest.approx(0.99))


def test_agent57s_ladder_begins_at_ten_arms():
    assert arms("agent57", n=10).build().gamma[7:].tolist() == near(0.997, 0.997, 0.99)
    with pytest.raises(UsageError, match=r"n=9: .*=agent57 needs at least 10 arms; for fewer take .*=ngu, log-spaced"):
        arms("agent57", n=9).build()


@pytest.mark.parametrize(
    ("ladder", "settings", "says"),
    [
        ("ngu", {"gamma_max": 0.98}, "gamma_min=0.99 must not exceed meta.arms.gamma_max=0.98"),
        ("agent57", {"gamma_mid": 0.98}, "gamma_mid=0.98 must lie between meta.arms.gamma_min=0.99 and"),
    ],
)
def test_discounts_that_rise_are_refused(ladder, settings, says):
    spec = arms(ladder, **settings)
    assert [says in problem for problem in spec.needs(None)] == [True]
    with pytest.raises(UsageError, match=says):
        spec.build()
    assert not [*arms("ngu", gamma_mid=0.5).needs(None)]  # which NGU's ladder does not read
