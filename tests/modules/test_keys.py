import torch

from modules import keys
from modules.keys import Spaces
from modules.replay.rows import FIRST_STEP_KEYS, SequenceSchema
from tests.modules.builders import network_spec


def test_the_vocabulary_names_everything_that_a_row_or_a_network_holds():
    names = {key.name for key in keys.KEYS}
    assert len(names) == len(keys.KEYS)
    spaces = Spaces(observation_shape=(2,), observation_dtype=torch.float32, n_actions=2)
    for memory in ("lstm", "gru", "none"):
        spec = network_spec(memory)
        network = spec.build(spaces).tensordict_module()
        used = {key[-1] if isinstance(key, tuple) else key for key in [*network.in_keys, *network.out_keys]}
        used |= set(
            SequenceSchema(length=5, states=spec.memory.state(), first_step_keys=FIRST_STEP_KEYS)
            .template(spaces)
            .keys()
        )
        assert used - set(spec.memory.state()) <= names
