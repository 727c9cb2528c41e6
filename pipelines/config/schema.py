"""The top level of the configuration, and how YAML becomes checked settings."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from pydantic import Field, InstanceOf, TypeAdapter, ValidationError

from modules import keys
from modules.callbacks import CallbackSpec
from modules.collect import CollectorSpec
from modules.collect.base import Cutter
from modules.envs.base import EnvSpec
from modules.evaluation import METRICS
from modules.exploration import ExplorationSpec
from modules.intrinsic import IntrinsicSpec
from modules.keys import Spaces
from modules.learner.target import TargetSpec
from modules.loggers import LoggerSpec
from modules.losses.base import LossContext, LossSpec
from modules.meta_controller import Arms, MetaControllerSpec
from modules.metrics import Metric
from modules.networks.spec import NetworkSpec
from modules.optim import AdamSpec
from modules.replay.actor_rows import FirstErrors
from modules.replay.base import ReplaySpec
from modules.replay.rows import SequenceSchema
from modules.spec import Count, Positive, PositiveFloat, Spec, UsageError, collect_metrics, spec
from pipelines.config.older import NEW_SETTINGS
from pipelines.config.plugins import Plugins, import_plugins, make, resolve_references


@spec
class RunConfig(Spec):
    """One training run; everything is counted in env frames.

    Attributes:
        name: of the experiment; names the output folder.
        seed: of every random stream.
        device: where the networks live; auto takes CUDA if there is one.
        threads: CPU threads of PyTorch; 0 leaves its default.
        total_frames: length of the run.
        warmup_frames: frames collected before the first update.
        eval_every: frames between greedy evaluations; 0 means only at the end.
        eval_episodes: episodes of an evaluation.
        eval_envs: environments of evaluations that step side by side, if there are as many episodes; 1 plays these one
            after the other; null: as many as episodes, at most 64, or 16 with images or an
            intrinsic reward.
        eval_max_steps: steps after which an episode of an evaluation or a film is cut off, whatever the environment
            says.
        log_every: frames between rows of metrics.
        save_every: frames between checkpoints; where a run can be repeated exactly, each restarts the environments.
        keep_checkpoints: how many of the newest checkpoints stay.
        stop_at_score: mean greedy return at or above which the run ends early; null means never.
        stop_at_episodes: training episodes after which the run ends, with the batch in which the last one ends; null
            means never.
        stop_at_length: mean length of greedy episodes at or below which the run ends early; null means never.
        video: whether to record a greedy episode at the end.
        dry: stop after all checks, and first make as many environments as training would have at once.
        resume: what becomes of a run that is in the folder already: never touches it, auto continues it if it has these
            settings, kept also if it has others of those that may be changed at a resume, with its own. A word of the
            command, like `dry`: the folder's config.yaml always says never.
        plugins: modules to import before all else, from the current folder or what is installed: they may hold parts of
            your own, for a `_target_`, or register environments.
    """

    metrics = METRICS

    name: Annotated[str, Field(min_length=1, pattern=r"^[\w.-]*[\w-][\w.-]*$")]  # a folder: not `..`
    seed: Count
    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=0, le=4096)]
    total_frames: Positive
    warmup_frames: Count
    eval_every: Count
    eval_episodes: Positive
    eval_envs: Positive | None
    eval_max_steps: Positive
    log_every: Positive
    save_every: Positive
    keep_checkpoints: Positive
    stop_at_score: float | None
    stop_at_episodes: Positive | None
    stop_at_length: PositiveFloat | None
    video: bool
    dry: bool
    resume: Literal["never", "auto", "kept"]
    plugins: Plugins
    env: InstanceOf[EnvSpec]
    network: InstanceOf[NetworkSpec]
    collector: InstanceOf[CollectorSpec]
    replay: InstanceOf[ReplaySpec]
    loss: InstanceOf[LossSpec]
    exploration: InstanceOf[ExplorationSpec]
    intrinsic: InstanceOf[IntrinsicSpec]
    meta: InstanceOf[MetaControllerSpec]
    optim: InstanceOf[AdamSpec]
    target: InstanceOf[TargetSpec]
    logger: InstanceOf[LoggerSpec]
    callbacks: dict[str, InstanceOf[CallbackSpec]]

    @cached_property
    def spaces(self) -> Spaces:
        """Spaces of the environment, the arms and the values; raises `UsageError` if it cannot be trained on."""
        betas = tuple(self.arms.beta.tolist())
        return replace(self.env.agent_spaces(), betas=betas, rescale_eps=self.loss.rescaling)

    @cached_property
    def arms(self) -> Arms:
        """The family of policies."""
        return self.meta.table(self.loss.gamma)

    @cached_property
    def watching(self) -> dict[str, CallbackSpec]:
        """The callbacks that have something to see in this run."""
        return {name: spec for name, spec in self.callbacks.items() if spec.applies(self)}

    @cached_property
    def declared(self) -> dict[str, Metric]:
        """The metrics of all parts; raises `UsageError` if two declare one name in different words."""
        return collect_metrics(replace(self, callbacks=self.watching))

    @property
    def evaluation_envs(self) -> int:
        """Environments of an evaluation: a step of many costs little more than one of few, unless each is costly."""
        costly = self.spaces.is_image or bool(self.spaces.places("image")) or self.intrinsic.rewards
        return min(self.eval_episodes, self.eval_envs or (16 if costly else 64))

    def loss_context(self, network: Any) -> LossContext:
        """What the loss of `network` needs."""
        return LossContext(network=network, burn_in=self.replay.burn_in, beta=self.arms.beta, gamma=self.arms.gamma)

    @property
    def torch_device(self) -> torch.device:
        """The device that `device` stands for on this machine."""
        auto = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(auto if self.device == "auto" else self.device)

    @property
    def sequence_schema(self) -> SequenceSchema:
        """What a row of the replay is made of."""
        arm = () if self.meta.single else (keys.ARM,)
        behaviour = (keys.BEHAVIOUR,) if self.loss.reads_behaviour else ()
        novelty = (keys.INTRINSIC,) if self.intrinsic.rewards else ()
        return self.replay.schema(self.network.state(), (*self.network.reads, *arm), (*novelty, *behaviour))

    def cutter(self) -> Cutter:
        """Make what cuts an actor's batches into rows."""
        errors = FirstErrors(
            n_step=self.loss.horizon,
            rescale_eps=self.loss.rescaling,
            beta=self.arms.beta,
            gamma=self.arms.gamma,
            burn_in=self.replay.burn_in,
        )
        return self.replay.cutter(self.sequence_schema, errors)

    @property
    def replay_bytes(self) -> int:
        """Disk that the full replay takes, or a shard of it."""
        rows = self.replay.ring_rows(self.save_every, self.collector.burst)
        return self.replay.footprint(self.spaces, self.sequence_schema, rows)

    def needs(self, run: "RunConfig") -> Iterator[str]:
        """Budgets and cadences must fit each other and the machine."""
        del run
        if self.device == "cuda" and not torch.cuda.is_available():
            yield "device=cuda needs a CUDA device, and PyTorch finds none: use device=cpu or device=auto"
        for goal in ("stop_at_score", "stop_at_length"):
            if getattr(self, goal) is not None and self.eval_every == 0:
                yield f"{goal} needs evaluations to reach it: set eval_every, or {goal}=null"
        if self.warmup_frames >= self.total_frames:
            yield f"warmup_frames={self.warmup_frames} must be smaller than total_frames={self.total_frames}"
        batch = self.collector.frames_per_batch
        for setting in ("total_frames", "log_every", "save_every", "eval_every"):
            value = getattr(self, setting)
            if 0 < value < batch:
                yield (
                    f"{setting}={value} must not be smaller than one batch of {batch} frames "
                    "(collector.num_envs x collector.steps)"
                )


def read(cfg: DictConfig) -> RunConfig:
    """Turn a composed configuration into a `RunConfig`, or raise `UsageError` with everything that is wrong in it."""
    plain = resolve_references(cfg, "configuration", complete=True)
    problems: list[str] = []
    run = make(plain, "", problems, import_named(plain))
    if problems:
        raise UsageError("; ".join(dict.fromkeys(at_the_source(problem, cfg) for problem in problems)))
    if not isinstance(run, RunConfig):
        raise UsageError("configuration: the top level must have _target_: pipelines.config.schema.RunConfig")
    return replace(run, replay=run.replay.fit_to_env(run.env.episode_limit()))


def import_named(plain: Mapping[str, Any]) -> tuple[str, ...]:
    """Import the plugins that a configuration names, if they have names at all; return them."""
    try:
        plugins = TypeAdapter(Plugins).validate_python(plain.get("plugins", ()))
    except ValidationError:
        return ()  # what is wrong there will be said with all the rest
    import_plugins(plugins)
    return plugins


def at_the_source(problem: str, cfg: DictConfig) -> str:
    """Let a problem begin with the setting that was given, where the one that is wrong only repeats it as `${…}`."""
    name, colon, text = problem.partition(": ")
    if name in NEW_SETTINGS:
        return f"{name} is now {NEW_SETTINGS[name]}"
    node: Any = OmegaConf.to_container(cfg)
    for key in name.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    source = re.fullmatch(r"\$\{([\w.]+)\}", str(node))
    return at_the_source(source[1] + colon + text, cfg) if source else problem
