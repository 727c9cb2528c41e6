"""Episodes of an evaluation as a data set of Minari: what the environment gave, and not what the network saw of it."""

import contextlib
import importlib.util
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from tensordict import TensorDictBase
from torchrl.envs import EnvBase

from modules.envs.atari import AtariSpec
from modules.envs.gym import GymSpec, vector_env
from modules.envs.gym_spaces import layers
from modules.envs.gymnasium_ids import id_of
from modules.envs.worlds.world import WorldSpec
from modules.envs.wrappers.recorder import RawEpisode, Recorder
from modules.evaluation import Callback, Step, quotas
from modules.spec import UsageError
from pipelines.agent.trained_agent import TrainedAgent

DATASET = re.compile(r"([\w-]+/)*[\w-]+-v\d+")
RECORDER = f"{Recorder.__module__}:{Recorder.__name__}"
PACKAGES = ("minari", "h5py")

log = logging.getLogger("recall")


def refuse_dataset(name: str) -> None:
    """Raise `UsageError` for a name that Minari would not take, one that is taken, or a missing package."""
    if DATASET.fullmatch(name) is None:
        raise UsageError(f"minari: a data set is called NAMESPACE/NAME-v0 or NAME-v0, not {name!r}")
    if missing := [package for package in PACKAGES if importlib.util.find_spec(package) is None]:
        how = "`pip install -c constraints.txt -e '.[minari]'`"
        raise UsageError(f"minari={name} needs {' and '.join(missing)}: install with {how}")
    import minari  # pyright: ignore[reportMissingImports] - if it is there

    with contextlib.suppress(FileNotFoundError):
        minari.load_dataset(name)
        raise UsageError(f"minari: there is a data set {name} already: give another version, or delete that one")


class DatasetRecorder(Callback):
    """Keeps the episodes of one evaluation in memory.

    Attributes:
        agent: acts in environments that can be recorded.
    """

    def __init__(self, agent: TrainedAgent, episodes: int, num_envs: int) -> None:
        env = agent.run.env
        self._raw = isinstance(env, GymSpec | AtariSpec)  # all others give what the network sees
        wrapped = replace(env, wrappers=(*env.wrappers, RECORDER)) if isinstance(env, GymSpec | AtariSpec) else env
        self.agent = replace(agent, run=replace(agent.run, env=wrapped))
        self._quota = quotas(episodes, num_envs)
        self._seen: dict[int, RawEpisode] = {}
        self._ends: dict[int, tuple[bool, bool]] = {}
        self._recorders: list[Recorder] = []

    def look(self, env: EnvBase, seen: TensorDictBase) -> None:
        """Find what records, at the first reset."""
        del seen
        if self._raw and not self._recorders:
            found = [[part for part in layers(one) if isinstance(part, Recorder)] for one in vector_env(env).envs]
            self._recorders = [recorders[-1] for recorders in found]
            for recorder, most in zip(self._recorders, self._quota.tolist(), strict=True):
                recorder.most = most

    def on_episode_begin(self, episode: int, observation: np.ndarray) -> None:
        if not self._raw:
            self._seen[episode] = RawEpisode(seed=None, observations=[self._newest(observation)], infos=[{}])

    def on_step_end(self, step: Step) -> None:
        self._ends[step.episode] = (step.terminated, step.truncated)
        if not self._raw:
            kept = self._seen[step.episode]
            kept.actions.append(step.action)
            kept.rewards.append(step.reward)
            kept.observations.append(self._newest(step.next_observation))
            kept.infos.append({})

    def _newest(self, observation: np.ndarray) -> np.ndarray:
        """The last observation of a window."""
        alone = self.agent.run.env.spaces()
        axis, size = alone.planes or 0, alone.observation_shape[alone.planes or 0]
        return observation.take(range(observation.shape[axis] - size, observation.shape[axis]), axis)

    def episodes(self) -> list[RawEpisode]:
        """All of them, by their numbers."""
        if not self._raw:
            return [episode for _, episode in sorted(self._seen.items())]
        return [episode for recorder in self._recorders for episode in recorder.episodes]

    def write(self, name: str, description: str) -> None:
        """Write the data set `name` where Minari keeps its own (MINARI_DATASETS_PATH).

        Raises:
            OSError: it could not be written.
        """
        import minari  # pyright: ignore[reportMissingImports] - if it is there
        from minari.data_collector import EpisodeBuffer  # pyright: ignore[reportMissingImports]

        observation_space, action_space, spec = self._environment()
        infos = common_infos(self.episodes())
        buffers = []
        for number, episode in enumerate(self.episodes()):
            terminated, truncated = self._ends[number]
            before = [False] * (len(episode.rewards) - 1)
            buffer = EpisodeBuffer(
                id=number,
                seed=episode.seed,
                observations=stacked(observation_space, episode.observations),
                actions=stacked(action_space, episode.actions),
                rewards=episode.rewards,
                terminations=[*before, terminated],
                truncations=[*before, truncated],
                infos={key: np.stack([info[key] for info in episode.infos]) for key in infos},
            )
            buffers.append(buffer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of an author, an e-mail address and the like, which are not given
            minari.create_dataset_from_buffers(
                name,
                buffers,
                env=spec,
                observation_space=observation_space,
                action_space=action_space,
                algorithm_name=self.agent.run.name,
                description=description,
                jpeg_encoding=False,  # which would change the pixels
            )
        log.info("minari: %s, %d episodes of %s", name, len(buffers), spec.id if spec else "an environment without id")

    def _environment(self) -> tuple[spaces.Space, spaces.Space, EnvSpec | None]:
        """The spaces of what was recorded, and how Gymnasium makes such an environment, if it can."""
        if self._raw:
            inner = self._recorders[0].env
            return inner.observation_space, inner.action_space, self._recoverable(inner.spec)
        run = self.agent.run
        if isinstance(run.env, WorldSpec):
            env = gymnasium.make(spec := id_of(run.env))
            return env.observation_space, env.action_space, spec
        seen = run.env.spaces()
        return spaces.Box(0, 255, seen.observation_shape, np.uint8), spaces.Discrete(seen.n_actions), None

    def _recoverable(self, found: EnvSpec | None) -> EnvSpec | None:
        """Try to make the environment of what would be written; None, with a warning, if that fails."""
        try:
            assert found is not None
            limit = getattr(self.agent.run.env, "max_steps", None)
            found = replace(found, max_episode_steps=limit or found.max_episode_steps)
            found = EnvSpec.from_json(found.to_json())
            gymnasium.make(found).close()
        except Exception as error:  # a wrapper, or a constructor, of whoever wrote it
            text = " ".join(str(error).split())[:200]
            log.warning("minari: the data set will not say how to make its environment (%s)", text)
            return None
        return found


def stacked(space: spaces.Space, values: Sequence[Any]) -> Any:
    """Join values of a space along a new first axis; those of a Dict or Tuple part by part."""
    if isinstance(space, spaces.Dict):
        return {name: stacked(part, [value[name] for value in values]) for name, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(stacked(part, [value[i] for value in values]) for i, part in enumerate(space.spaces))
    return np.stack([np.asarray(value, space.dtype) for value in values])


def common_infos(episodes: Sequence[RawEpisode]) -> list[str]:
    """Name the entries that all infos have, as numbers of one shape; Minari keeps no others."""
    first, *others = [info for episode in episodes for info in episode.infos]

    def alike(key: str, info: Mapping[str, Any]) -> bool:
        here, there = np.asarray(first[key]), np.asarray(info.get(key))
        return here.dtype.kind in "biuf" and (here.dtype.kind, here.shape) == (there.dtype.kind, there.shape)

    keys = reduce(lambda kept, info: [key for key in kept if alike(key, info)], others, list(first))
    return [key for key in keys if alike(key, first)]


@contextlib.contextmanager
def recording_dataset(
    name: str, agent: TrainedAgent, description: str, *, episodes: int, num_envs: int
) -> Iterator[DatasetRecorder]:
    """Yield what records an evaluation; write the data set once that is over."""
    recorder = DatasetRecorder(agent, episodes, num_envs)
    yield recorder
    recorder.write(name, description)
