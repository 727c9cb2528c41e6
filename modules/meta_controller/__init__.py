"""Meta-controllers: which member of a family of policies, an arm (β, γ), acts in each episode."""

from modules.meta_controller.arms import Arms, ArmsSpec
from modules.meta_controller.bandit import BanditSpec, EvaluationBanditSpec
from modules.meta_controller.base import FixedArm, MetaContext, MetaController, MetaControllerSpec
from modules.meta_controller.transform import ArmPerEpisode
from modules.meta_controller.uniform import FixedPerActorSpec, NoneSpec, UniformSpec

__all__ = [
    "ArmPerEpisode",
    "Arms",
    "ArmsSpec",
    "BanditSpec",
    "EvaluationBanditSpec",
    "FixedArm",
    "FixedPerActorSpec",
    "MetaContext",
    "MetaController",
    "MetaControllerSpec",
    "NoneSpec",
    "UniformSpec",
]
