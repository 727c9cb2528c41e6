"""Settings of a network, and what its environments must provide for it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import InstanceOf

from modules import keys
from modules.keys import KEYS, Spaces, StateSchema
from modules.networks.context import PartContext
from modules.networks.heads import HeadSpec
from modules.networks.inputs import InputsSpec
from modules.networks.network import RecurrentNetwork
from modules.networks.normalise import Normalised
from modules.networks.recurrent import MemorySpec, select_stored, with_stored_state
from modules.networks.torsos import TorsoSpec
from modules.networks.two_streams import PREFIX, Combination, TwoStreamNetwork
from modules.spec import Count, RunConfig, Spec, spec

if TYPE_CHECKING:
    from torchrl.envs import Transform


@spec
class NetworkSpec(Spec):
    """A recurrent action-value network.

    Attributes:
        span: steps over which the memory keeps what it holds before anything is learned (`recurrent.chrono_`); 0 = as
            PyTorch initialises it.
        streams: one network for the rewards together, or one each for extrinsic and intrinsic rewards (Agent57).
        combine: how actions are chosen by two networks' values: sum, Q_e + β Q_i, or rescaled, h(h⁻¹(Q_e) + β h⁻¹(Q_i))
            with the h of the loss (Agent57, appendix, found both as good).
    """

    span: Count
    streams: Literal["one", "two"]
    combine: Literal["sum", "rescaled"]
    torso: InstanceOf[TorsoSpec]
    inputs: InstanceOf[InputsSpec]
    memory: InstanceOf[MemorySpec]
    head: InstanceOf[HeadSpec]

    def needs(self, run: RunConfig) -> Iterator[str]:
        """The torso must fit the observations, the memory and the head what comes before them."""
        yield from self.torso.problems(run.spaces)
        yield from self._misfits(run)
        if self.streams == "two" and not (run.intrinsic.rewards and run.loss.splits):
            yield (
                "network.streams=two needs an intrinsic reward (an option of intrinsic) and a loss that learns both "
                "(loss=q or loss=retrace)"
            )
        if self.streams == "two" and run.meta.single:
            yield (
                "network.streams=two needs a family of policies, whose β weighs the two: use network.streams=one, or "
                "meta=uniform or bandit"
            )
        if self.combine == "rescaled" and self.streams == "one":
            yield (
                "network.combine=rescaled needs two networks whose values it combines: use network.combine=sum, or "
                "network.streams=two"
            )
        elif self.combine == "rescaled" and run.loss.splits and not run.loss.rescaling:
            yield (
                "network.combine=rescaled needs rescaled values, or it would be the sum: use network.combine=sum, or "
                "loss.rescale_eps above 0"
            )

    def _misfits(self, run: RunConfig) -> Iterator[str]:
        if taken := {entry.name for entry in KEYS} & set(self.state()):
            yield f"network/memory calls a tensor of its state {min(taken)}, a name of Recall's own: use another"
        if self.torso.writes != self.head.reads:
            yield (
                f"network/torso gives a {self.torso.writes} and network/head needs a {self.head.reads}: "
                "network/torso=table and network/head=table go together"
            )
        if self.torso.writes != "features" and self.inputs.reads:
            yield "network/torso=table cannot be joined by further inputs: use network/inputs=none"
        if self.torso.writes != "features" and run.spaces.normalised:
            yield "network/torso=table tells observations apart as they are: use env.normalise=none"
        if self.torso.writes != "features" and self.memory.state():
            yield f"network/memory={self.memory.name} cannot remember rows of a table: use network/memory=none"
        if run.loss.learns not in self.head.writes:
            yield (
                f"the loss learns {run.loss.learns}, and network/head puts out {' and '.join(self.head.writes)}: "
                f"choose a head that puts out {run.loss.learns}, or another loss"
            )
        if self.streams == "two" and set(self.head.writes) - {keys.ACTION_VALUE}:
            yield "network.streams=two combines action values only, and network/head puts out more: use network/head=q"

    @property
    def reads(self) -> tuple[str, ...]:
        """Keys of what the network reads beside observation and recurrent state."""
        arm = (keys.ARM,) if self.streams == "two" else ()
        return tuple(dict.fromkeys((*self.inputs.reads, *arm)))

    def state(self) -> StateSchema:
        """Key, shape and number type of each tensor of the recurrent state; empty if there is none."""
        mine = select_stored(self.memory.state())
        return {**mine, **({} if self.streams == "one" else {PREFIX + key: entry for key, entry in mine.items()})}

    def build(self, spaces: Spaces) -> RecurrentNetwork | TwoStreamNetwork:
        """Make the network: observation [..., *shape] (and recurrent state) → action_value [..., A]."""
        if self.streams == "two":
            eps = spaces.rescale_eps if self.combine == "rescaled" else 0.0
            return TwoStreamNetwork(self._stream(spaces), self._stream(spaces), Combination(spaces.betas, eps))
        return self._stream(spaces)

    def _stream(self, spaces: Spaces) -> RecurrentNetwork:
        features = self.torso.size(spaces) + self.inputs.size(spaces)
        context = PartContext(spaces=spaces, in_features=features, span=self.span)
        memory = with_stored_state(self.memory.build(context), self.memory.state())
        torso = self.torso.make(spaces)
        if spaces.normalised:
            torso = Normalised(torso, spaces)
        head = self.head.build(replace(context, in_features=self.memory.out_features(features)))
        return RecurrentNetwork(
            torso, self.inputs.build(spaces), memory, head, spec=self.memory, allowed=spaces.allowed
        )

    def transforms(self) -> "list[Transform]":
        """Make what provides, at each reset, the zero recurrent state and, at each step, the further inputs."""
        from modules.networks.transforms import PreviousStep, ZeroState  # with TorchRL, which acting does without

        zero = ZeroState(self.state())
        return [zero, PreviousStep(intrinsic=self.inputs.previous_intrinsic)] if self.inputs.reads else [zero]
