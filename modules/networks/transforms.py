"""What environments provide for a network: the zero recurrent state at each reset, and the step before."""

import torch
from tensordict import TensorDictBase
from torchrl.data import Composite, Unbounded
from torchrl.envs import TensorDictPrimer, Transform

from modules import keys
from modules.keys import StateSchema
from modules.previous_step import ENTRIES, SOURCES, before_the_first, following


class ZeroState(TensorDictPrimer):
    """Provides the zero recurrent state at each reset: without it a policy forgets.

    TorchRL's own reset looks everything up in its specs each time, a twentieth of acting where episodes are short.
    After a reset TorchRL itself keeps the environments that continue as they were.
    """

    def __init__(self, state: StateSchema) -> None:
        specs = {key: Unbounded(torch.Size(entry.shape), dtype=entry.dtype) for key, entry in state.items()}
        super().__init__(specs, expand_specs=True)
        self._state = dict(state)

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        del tensordict
        for key, entry in self._state.items():
            tensordict_reset.set(key, entry.zeros(*tensordict_reset.batch_size, device=tensordict_reset.device))
        return tensordict_reset


class PreviousStep(Transform):
    """Writes what the agent did and got in the step before, see `modules/previous_step.py`.

    Args:
        intrinsic: whether to write the intrinsic reward too, which a transform before this one gives.
    """

    def __init__(self, *, intrinsic: bool = False) -> None:
        super().__init__()
        self._keys = [key for key in SOURCES if intrinsic or key != keys.PREVIOUS_INTRINSIC]

    def _reset(self, tensordict: TensorDictBase, tensordict_reset: TensorDictBase) -> TensorDictBase:
        del tensordict
        for key in self._keys:
            first = before_the_first(key, *tensordict_reset.batch_size, device=tensordict_reset.device)
            tensordict_reset.set(key, first)
        return tensordict_reset

    def _step(self, tensordict: TensorDictBase, next_tensordict: TensorDictBase) -> TensorDictBase:
        for key in self._keys:
            acted = SOURCES[key] == keys.ACTION
            made = tensordict[keys.ACTION] if acted else next_tensordict[SOURCES[key]].squeeze(-1)
            next_tensordict.set(key, following(key, made))
        return next_tensordict

    def transform_observation_spec(  # pyright: ignore[reportIncompatibleMethodOverride] - ours is always composite
        self, observation_spec: Composite
    ) -> Composite:
        """Add the entries, [N] each."""
        for key in self._keys:
            dtype, device = ENTRIES[key].dtype, observation_spec.device
            observation_spec[key] = Unbounded(observation_spec.shape, dtype=dtype, device=device)
        return observation_spec
