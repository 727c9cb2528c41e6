"""Meta-controllers: which member of a family of policies, an arm (β, γ), acts in each episode."""

from modules.meta.arms import Arms, ArmsSpec
from modules.meta.bandit import BanditSpec, EvaluatorSpec
from modules.meta.base import Meta, MetaSpec
from modules.meta.evaluator import Evaluator
from modules.meta.plain import ArmPerActor, FixedArm, FixedPerActorSpec, NoneSpec, UniformArms, UniformSpec
from modules.meta.transform import ArmPerEpisode
from modules.meta.ucb import SlidingWindowUcb

__all__ = [
    "ArmPerActor",
    "ArmPerEpisode",
    "Arms",
    "ArmsSpec",
    "BanditSpec",
    "Evaluator",
    "EvaluatorSpec",
    "FixedArm",
    "FixedPerActorSpec",
    "Meta",
    "MetaSpec",
    "NoneSpec",
    "SlidingWindowUcb",
    "UniformArms",
    "UniformSpec",
]
