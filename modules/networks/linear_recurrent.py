"""Memories whose recurrence is linear, x_t = a_t x_{t-1} + b_t: rows are unrolled by a parallel scan, not by steps."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from modules.keys import Entry, State, StateSchema
from modules.networks.context import PartContext
from modules.networks.recurrent import RecurrentSpec
from modules.spec import RunConfig, spec

STATE = "recurrent_state"


def linear_scan(a: Tensor, b: Tensor, before: Tensor) -> Tensor:
    """Solve x_t = a_t x_{t-1} + b_t for all steps at once.

    Args:
        a: [B, T, H], or [1, T, H] if it is the same in all rows; |a| ≤ 1, or products of it may overflow.
        b: [B, T, H]; all are real, or all complex.
        before: x before the first step, [B, H].

    Returns:
        x, [B, T, H].
    """
    if b.shape[1] == 1:  # a step of acting, which `torch.export` must be able to trace
        return b + a * before.unsqueeze(1)
    found = LinearScan.apply(a, b, before)
    assert isinstance(found, Tensor)
    return found


class LinearScan(torch.autograd.Function):
    """The recurrence and its gradient, which is the same recurrence from the last step to the first."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, before: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        x = in_blocks(a, b, before)
        ctx.save_for_backward(a, x, before)
        return x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        a, x, before = ctx.saved_tensors
        later = torch.cat((a[:, 1:], torch.zeros_like(a[:, :1])), 1).conj()
        g = in_blocks(later.flip(1), grad.flip(1), torch.zeros_like(before)).flip(1)
        earlier = torch.cat((before.unsqueeze(1), x[:, :-1]), 1)
        return (g * earlier.conj()).sum_to_size(a.shape), g, g[:, 0] * a[:, 0].conj()


def in_blocks(a: Tensor, b: Tensor, before: Tensor) -> Tensor:
    """Solve √T blocks of √T steps side by side, then join them: 2√T steps one after the other instead of T."""
    batch, steps, size = b.shape
    length = math.isqrt(steps - 1) + 1
    short = -steps % length
    a, b = (nn.functional.pad(part, (0, 0, 0, short)).view(len(part), -1, length, size) for part in (a, b))
    x, product = torch.empty_like(b), torch.empty_like(a)
    x[:, :, 0], product[:, :, 0] = b[:, :, 0], a[:, :, 0]
    for t in range(1, length):
        torch.addcmul(b[:, :, t], a[:, :, t], x[:, :, t - 1], out=x[:, :, t])
        torch.mul(a[:, :, t], product[:, :, t - 1], out=product[:, :, t])
    ends = [before]
    for block in range(b.shape[1] - 1):
        ends.append(torch.addcmul(x[:, block, -1], product[:, block, -1], ends[-1]))
    return torch.addcmul(x, product, torch.stack(ends, 1).unsqueeze(2)).view(batch, -1, size)[:, :steps]


class Stack(nn.Module):
    """Layers that each have their part of the state, [B, layers, H]."""

    def __init__(self, encoder: nn.Module, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoder, self.layers = encoder, nn.ModuleList(layers)

    def forward(self, embed: Tensor, state: State) -> tuple[Tensor, State]:
        """Unroll over [B, T, features]."""
        out, last = self.encoder(embed), []
        for layer, before in zip(self.layers, state[0].unbind(1), strict=True):
            out, after = layer(out, before)
            last.append(after)
        return out, (torch.stack(last, 1),)


class MinGruLayer(nn.Module):
    """h_t = (1 − z_t) h_{t-1} + z_t (W x_t + c), with a gate z_t = σ(V x_t + d) that sees the input only.

    Args:
        in_features: size of x.
        hidden_size: size of h.
        span: units keep what they hold for 1 to `span` steps at first; 0 = as PyTorch initialises the gate.
    """

    def __init__(self, in_features: int, hidden_size: int, span: int) -> None:
        super().__init__()
        self.gate, self.candidate = nn.Linear(in_features, hidden_size), nn.Linear(in_features, hidden_size)
        if span:  # see `chrono_`
            nn.init.uniform_(self.gate.bias, 1, max(span - 1, 1))
            with torch.no_grad():
                self.gate.bias.log_().neg_()

    def forward(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, features] and h before it, [B, H] → [B, T, H] and the last h."""
        gate = self.gate(x)
        h = linear_scan(torch.sigmoid(-gate), torch.sigmoid(gate) * self.candidate(x), before)
        return h, h[:, -1]


class LruLayer(nn.Module):
    """Normalisation → x_t = λ x_{t-1} + γ B u_t, y_t = Re(C x_t) + D u_t → GELU → gated linear unit → skip connection.

    λ is complex and diagonal, |λ| = exp(−exp(ν)) < 1; γ = √(1 − |λ|²) at first.

    Args:
        size: of u, x and y.
        ring: |λ| is drawn uniformly from the ring between these radii.
        max_phase: the angle of λ is drawn uniformly from 0 to this.
    """

    def __init__(self, size: int, ring: tuple[float, float], max_phase: float) -> None:
        super().__init__()
        inner, outer = ring
        squared = inner**2 + torch.rand(size) * (outer**2 - inner**2)
        self.norm = nn.LayerNorm(size)
        self.nu = nn.Parameter((-0.5 * squared.log()).log())
        self.theta = nn.Parameter((torch.rand(size) * max_phase).log())
        self.gamma = nn.Parameter((1 - squared).sqrt().log())
        self.b, self.c = nn.Linear(size, 2 * size, bias=False), nn.Linear(2 * size, size, bias=False)
        nn.init.normal_(self.b.weight, std=1 / math.sqrt(2 * size))
        nn.init.normal_(self.c.weight, std=1 / math.sqrt(size))
        self.d = nn.Parameter(torch.randn(size))
        self.out = nn.Linear(size, 2 * size)

    def forward(self, u: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, H] and x before it, complex [B, H] → [B, T, H] and the last x."""
        normal = self.norm(u)
        real, imaginary = (self.gamma.exp().repeat(2) * self.b(normal)).chunk(2, -1)
        decay = torch.polar((-self.nu.exp()).exp(), self.theta.exp())
        x = linear_scan(decay.expand(1, *real.shape[1:]), torch.complex(real, imaginary), before)
        y = self.c(torch.cat((x.real, -x.imag), -1)) + self.d * normal
        return u + nn.functional.glu(self.out(nn.functional.gelu(y))), x[:, -1]


@spec
class MinGruSpec(RecurrentSpec):
    """Minimal gated recurrent unit (Feng et al. 2024, "Were RNNs all we needed?", section 3.1).

    The gate does not see what the unit holds, so one layer cannot decide by the past what to keep; a second one can.
    """

    name: Literal["mingru"]  # pyright: ignore[reportIncompatibleVariableOverride]

    def state(self) -> StateSchema:
        """The hidden state of each layer, [layers, H]."""
        return {STATE: Entry((self.layers, self.hidden_size))}

    def build(self, context: PartContext) -> Stack:
        sizes = [context.in_features, *[self.hidden_size] * self.layers]
        return Stack(nn.Identity(), [MinGruLayer(a, b, context.span) for a, b in pairwise(sizes)])


@spec
class LruSpec(RecurrentSpec):
    """Linear recurrent unit (Orvieto et al. 2023, sections 3 and 4), in the paper's block with a gated linear unit.

    Attributes:
        r_min: inner radius of the ring from which |λ| is drawn; how long a unit keeps what it holds is 1 / (1 − |λ|).
        r_max: outer radius. A `network.span` above 0 sets the ring so that units keep for up to that many steps.
        max_phase: largest angle of λ in radians.
    """

    name: Literal["lru"]  # pyright: ignore[reportIncompatibleVariableOverride]
    r_min: Annotated[float, Field(ge=0, lt=1)]
    r_max: Annotated[float, Field(gt=0, lt=1)]
    max_phase: Annotated[float, Field(gt=0, le=2 * math.pi)]

    def needs(self, run: RunConfig) -> Iterator[str]:
        """The ring must have an inside."""
        del run
        if self.r_min >= self.r_max:
            yield f"network.memory.r_min={self.r_min} must be smaller than network.memory.r_max={self.r_max}"

    def state(self) -> StateSchema:
        """The complex state of each layer, [layers, H]."""
        return {STATE: Entry((self.layers, self.hidden_size), torch.complex64)}

    def build(self, context: PartContext) -> Stack:
        ring = (0.0, 1 - 1 / (context.span + 1)) if context.span else (self.r_min, self.r_max)
        layers = [LruLayer(self.hidden_size, ring, self.max_phase) for _ in range(self.layers)]
        return Stack(nn.Linear(context.in_features, self.hidden_size), layers)
