"""Meta-controllers: which member of a family of policies, an arm (β, γ), acts in each episode."""

from modules.meta.arms import Arms, ArmsSpec
from modules.meta.bandit import BanditSpec, SlidingWindowUcb
from modules.meta.base import Meta, MetaSpec
from modules.meta.plain import FixedArm, NoneSpec, UniformArms, UniformSpec
from modules.meta.transform import ArmPerEpisode

__all__ = [
    "ArmPerEpisode",
    "Arms",
    "ArmsSpec",
    "BanditSpec",
    "FixedArm",
    "Meta",
    "MetaSpec",
    "NoneSpec",
    "SlidingWindowUcb",
    "UniformArms",
    "UniformSpec",
]
