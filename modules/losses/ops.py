"""Equations of the losses as pure functions; time-indexed, batch first.

A row has T steps and T+1 observations: `r_t[:, t]` follows the action at step t, and `v_t[:, t]` is the
value of the observation that this step led to.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from modules.losses.allowed import allowed_by


def signed_hyperbolic(x: Tensor, eps: float) -> Tensor:
    """Rescale (squash) values: h(x) = sign(x)(√(|x|+1) − 1) + εx (Pohlen et al. 2018; R2D2, section 2.3)."""
    return x.sign() * ((x.abs() + 1).sqrt() - 1) + eps * x


def signed_parabolic(x: Tensor, eps: float) -> Tensor:
    """Invert `signed_hyperbolic` (Pohlen et al. 2018, proposition A.2, with the square that NGU drops).

    Evaluated in float64: near 0 the difference loses half its digits in float32.
    """
    wide = x.double()
    root = (1 + 4 * eps * (wide.abs() + 1 + eps)).sqrt()
    return (wide.sign() * (((root - 1) / (2 * eps)).square() - 1)).to(x.dtype)


def combined_values(q_extrinsic: Tensor, q_intrinsic: Tensor, beta: Tensor, eps: float) -> Tensor:
    """Values of two streams as one: h(h⁻¹(Q_e) + β h⁻¹(Q_i)), or without rescaling Q_e + β Q_i.

    Evaluated in float64, as h⁻¹ is.

    Args:
        q_extrinsic: [...].
        q_intrinsic: [...].
        beta: weight of the second, [...].
        eps: ε of h; 0 means none.

    Returns:
        [...]. Source: Agent57 (Badia et al. 2020), section 3.1 and appendix.
    """
    if not eps:
        return q_extrinsic + beta * q_intrinsic
    raw = signed_parabolic(q_extrinsic.double(), eps) + beta * signed_parabolic(q_intrinsic.double(), eps)
    return signed_hyperbolic(raw, eps).to(q_extrinsic.dtype)


def double_q_value(q_target_t: Tensor, q_online_t: Tensor) -> Tensor:
    """Value of the online network's greedy action under the target network (van Hasselt et al. 2016).

    Args:
        q_target_t: target network, [..., A].
        q_online_t: online network, [..., A].

    Returns:
        [...]
    """
    return q_target_t.gather(-1, q_online_t.argmax(-1, keepdim=True)).squeeze(-1)


def n_step_return(r_t: Tensor, discount_t: Tensor, v_t: Tensor, continues: Tensor, n: int) -> Tensor:
    """n-step bootstrapped returns on rows, with a shorter horizon where the row ends earlier.

    G_t = r_t + γ_t r_{t+1} + … + (γ_t … γ_{t+m-1}) v_{t+m}, where m = n or the number of steps left in the row.
    A terminal step has discount 0; a truncated one keeps γ and bootstraps from its real final observation.

    Args:
        r_t: rewards, [B, T].
        discount_t: γ, or 0 where the step terminated, [B, T].
        v_t: bootstrap value of the observation after each step, [B, T].
        continues: True where the next step is in the same row and episode, [B, T]; the last column is not read.
        n: number of steps, ≥ 1.

    Returns:
        [B, T]. Source: Sutton & Barto (2018), section 7.1; used by R2D2 with n = 5.
    """
    g_t = r_t + discount_t * v_t
    for _ in range(n - 1):
        ahead = torch.where(continues[:, :-1], g_t[:, 1:], v_t[:, :-1])
        g_t = r_t + discount_t * torch.cat((ahead, v_t[:, -1:]), 1)
    return g_t


def quantile_huber(theta_tm1: Tensor, target: Tensor, kappa: float) -> Tensor:
    """Quantile regression (Dabney et al. 2018, equations 9 and 10): Σ_i mean_j |τ_i − 1{u < 0}| L_κ(u) / κ.

    Args:
        theta_tm1: predicted quantiles at τ_i = (2i − 1) / 2N, [..., N].
        target: samples of the target's distribution, without gradient, [..., M].
        kappa: |u| beyond which L is linear; 0 means |u| everywhere.

    Returns:
        [...], where u_ij = target_j − θ_i.
    """
    n = theta_tm1.shape[-1]
    tau = (torch.arange(n, dtype=theta_tm1.dtype, device=theta_tm1.device) + 0.5) / n
    u = target.unsqueeze(-2) - theta_tm1.unsqueeze(-1)
    size = u.abs()
    shape = torch.where(size <= kappa, 0.5 * u.square() / kappa, size - 0.5 * kappa) if kappa else size
    return ((tau.unsqueeze(-1) - (u.detach() < 0).to(u.dtype)).abs() * shape).mean(-1).sum(-1)


def eps_greedy_policy(q_online: Tensor, epsilon: float | Tensor) -> Tensor:
    """Probabilities of the ε-greedy policy: the best action has 1 − ε + ε/A, every other ε/A.

    Args:
        q_online: action values, [..., A]; of equal ones the first is the best, as when acting. Actions that are not
            allowed, whose values are far below all others, get 0, and A counts the rest.
        epsilon: ε, 0 … 1; one for all, or [...].

    Returns:
        [..., A]
    """
    epsilon = torch.as_tensor(epsilon, dtype=q_online.dtype, device=q_online.device).unsqueeze(-1)
    best = q_online.argmax(-1, keepdim=True) == torch.arange(q_online.shape[-1], device=q_online.device)
    allowed = allowed_by(q_online)
    return best * (1 - epsilon) + allowed * epsilon / allowed.sum(-1, keepdim=True).clamp_min(1)


def expected_value(pi: Tensor, q: Tensor) -> Tensor:
    """Value of an observation under a policy: Σ_a π(a) q(a); [..., A] each → [...]."""
    return (pi * q).sum(-1)


def trace(pi_of_action: Tensor, mu: Tensor, lam: float) -> Tensor:
    """Retrace's coefficient c = λ min(1, π(a)/μ(a)) of the action taken (Munos et al. 2016, section 3; NGU, app. E).

    Args:
        pi_of_action: its probability under the target policy, [...].
        mu: its probability under the policy that acted, as recorded when acting, [...]; > 0 on real steps.
        lam: λ, 0 … 1.

    Returns:
        [...]
    """
    return lam * (pi_of_action / mu).clamp(max=1)


def retrace(q_tm1: Tensor, v_t: Tensor, r_t: Tensor, discount_t: Tensor, c_t: Tensor, continues: Tensor) -> Tensor:
    """Retrace(λ) targets on rows; every value is raw, so under a value rescaling only the result is squashed.

    G_t = q_t + δ_t + γ_t c_{t+1} (δ_{t+1} + γ_{t+1} c_{t+2} (…)) with δ_t = r_t + γ_t v_t − q_t: one factor c per
    step. The sum ends where the row does; a truncated last step bootstraps from its real final observation. Each pass
    doubles how many δ an entry has summed up.

    Args:
        q_tm1: target network's value of the action taken, [B, T].
        v_t: the target policy's value of the observation after each step, under the target network, [B, T].
        r_t: rewards, [B, T].
        discount_t: γ of the row, or 0 where the step terminated, [B, T].
        c_t: trace coefficient of the step's own action, [B, T]; the first column is not read.
        continues: True where the next step is in the same row and episode, [B, T]; the last column is not read.

    Returns:
        [B, T]. Source: Munos et al. (2016), equation 3; NGU, appendix E, before its h.
    """
    error, steps, summed = r_t + discount_t * v_t - q_tm1, r_t.shape[1], 1
    factor = torch.where(continues[:, :-1], discount_t[:, :-1] * c_t[:, 1:], 0)  # of the entry `summed` steps ahead
    while summed < steps:
        # Behind a factor of 0 lies another episode or padding, which may hold anything, NaN too.
        ahead = torch.where(factor != 0, factor * error[:, summed:], 0)
        error = error + F.pad(ahead, (0, summed))
        factor = factor[:, :-summed] * factor[:, summed:]
        summed *= 2
    return q_tm1 + error


def lambda_return(r_t: Tensor, discount_t: Tensor, v_t: Tensor, continues: Tensor, lam: float) -> Tensor:
    """Q(λ) returns on rows: G_t = r_t + γ_t ((1 − λ) v_t + λ G_{t+1}), and r_t + γ_t v_t where the row ends.

    It is Retrace with λ for every coefficient, and an observation's value for that of the action. Arguments as there.

    Returns:
        [B, T]. Source: Peng & Williams (1996); Gallici et al. (2024), section 4.
    """
    v_tm1 = F.pad(v_t[:, :-1], (1, 0))  # the first one's is not known, and drops out
    return retrace(v_tm1, v_t, r_t, discount_t, torch.full_like(r_t, lam), continues)


def reward_to_go(r_t: Tensor, gamma: float, mask: Tensor) -> Tensor:
    """Discounted sum of the rewards from each step on: G_t = r_t + γ r_{t+1} + γ² r_{t+2} + … to the row's end.

    Each pass doubles how many rewards an entry has summed up.

    Args:
        r_t: rewards of whole episodes, [B, T]; not read where `mask` is False.
        gamma: discount.
        mask: True on real steps, [B, T], those of a row at its beginning.

    Returns:
        [B, T]. Source: Williams (1992), section 6 for γ = 1; Sutton & Barto (2018), section 13.3.
    """
    g_t, summed = torch.where(mask, r_t, 0), 1
    while summed < g_t.shape[1]:
        ahead = F.pad(g_t[:, summed:], (0, summed))
        g_t = g_t + gamma**summed * ahead
        summed *= 2
    return g_t


def discounted_reward(r_t: Tensor, gamma: float, mask: Tensor) -> Tensor:
    """γ^t r_t: each reward by itself, weighed by its step in the episode, and so no return; [B, T] each → [B, T].

    0 where `mask` is False.
    """
    return torch.where(mask, r_t, 0) * gamma ** torch.arange(r_t.shape[1], dtype=r_t.dtype, device=r_t.device)


def leave_one_out_baseline(g_t: Tensor, mask: Tensor) -> Tensor:
    """Take off each entry the mean of the other rows at the same step; [B, T] each → [B, T].

    A baseline that knows nothing of the row's own actions leaves the expected gradient as it is (Williams 1992, section
    4). Where a row is alone there is nothing to compare it with, and its entry stays.
    """
    real = torch.where(mask, g_t, 0)
    others = mask.sum(0) - 1
    return torch.where(mask, real - (real.sum(0) - real) / others.clamp_min(1), 0)


def standardise(x: Tensor, mask: Tensor) -> Tensor:
    """Shift and scale the real steps of a batch to mean 0 and standard deviation 1; [B, T] each → [B, T].

    Padding becomes 0, and so does everything where all real steps are alike or there is only one. In float64: in
    float32 the rounding of a mean would be scaled up to a standard deviation of 1.
    """
    wide = torch.where(mask, x, 0).double()
    away = torch.where(mask, wide - wide.sum() / mask.sum(), 0)
    deviation = (away.square().sum() / mask.sum()).sqrt()
    return (away / (deviation + 1e-8)).to(x.dtype)


def entropy(log_pi: Tensor) -> Tensor:
    """−Σ_a π(a) log π(a) of log-probabilities, in nats; [..., A] → [...]."""
    return -(log_pi.exp() * log_pi).sum(-1)


def before_or_after(mask: Tensor) -> Tensor:
    """Which observations lie before or after a real step: `mask` of the steps, bool [B, T] → [B, T+1]."""
    return F.pad(mask, (0, 1)) | F.pad(mask, (1, 0))


def first_real(real: Tensor) -> Tensor:
    """Index of the first real entry of each row, bool [B, T] → [B]; -1 in a row that is nothing but padding."""
    return torch.where(real.any(1), real.byte().argmax(1), -1)


def fill_padding(x: Tensor, real: Tensor, first: Tensor) -> Tensor:
    """Repeat the first real entry of each row where there is padding, or 0 in a row that is nothing but padding.

    Masking what is computed from padding does not keep a NaN there from the gradients: 0 · NaN is NaN. Nor do zeros in
    its place, for a network that cannot take them; what is real it can.

    Args:
        x: [B, T, …]; whole numbers stay as they are.
        real: False on padding, bool [B, T].
        first: `first_real` of it, [B].
    """
    if not x.is_floating_point():
        return x
    ahead = x[torch.arange(len(x), device=x.device), first].unsqueeze(1)
    ahead = torch.where((first < 0).reshape(-1, *[1] * (x.ndim - 1)), 0, ahead)
    return torch.where(real.reshape(*real.shape, *[1] * (x.ndim - 2)), x, ahead)


def of_action(values: Tensor, action: Tensor) -> Tensor:
    """Values [B, T, A, …] of the actions [B, T] → [B, T, …]."""
    index = action.view(*action.shape, 1, *[1] * (values.ndim - 3)).expand(*action.shape, 1, *values.shape[3:])
    return values.gather(2, index).squeeze(2)


def only_real(values: Tensor, mask: Tensor) -> Tensor:
    """Values [B, T, …], 0 where there is no step."""
    return torch.where(mask.view(*mask.shape, *[1] * (values.ndim - 2)), values, 0)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of `x` [..., B, T] over the real steps, [...]; no gradient reaches a padded entry of `x`, NaN or not."""
    return torch.where(mask, x, 0).sum((-2, -1)) / mask.sum()


def sequence_priority(td_errors: Tensor, mask: Tensor, eta: float) -> Tensor:
    """Priority of each row: η · max + (1 − η) · mean of |δ| over its learned steps.

    Args:
        td_errors: δ, [B, T]; not read where `mask` is False.
        mask: True on learned steps, False on burn-in and padding, [B, T].
        eta: share of the maximum, 0 … 1.

    Returns:
        [B], ≥ 0; 0 for a row without any learned step. Source: R2D2, section 2.3, with η = 0.9.
    """
    size = torch.where(mask, td_errors, 0).abs()
    mean = size.sum(-1) / mask.sum(-1).clamp_min(1)
    return eta * size.amax(-1) + (1 - eta) * mean
