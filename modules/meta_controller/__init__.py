"""Meta-controllers: which member of a family of policies, an arm (β, γ), acts in each episode."""

from modules.meta_controller.arms import Arms, ArmsSpec
from modules.meta_controller.bandit import BanditSpec, EvaluationBanditSpec
from modules.meta_controller.base import MetaContext, MetaController, MetaControllerSpec
from modules.meta_controller.evaluation_bandit import EvaluationBandit
from modules.meta_controller.transform import ArmPerEpisode
from modules.meta_controller.ucb import SlidingWindowUcb
from modules.meta_controller.uniform import ArmPerActor, FixedArm, FixedPerActorSpec, NoneSpec, UniformArms, UniformSpec

__all__ = [
    "ArmPerActor",
    "ArmPerEpisode",
    "Arms",
    "ArmsSpec",
    "BanditSpec",
    "EvaluationBandit",
    "EvaluationBanditSpec",
    "FixedArm",
    "FixedPerActorSpec",
    "MetaContext",
    "MetaController",
    "MetaControllerSpec",
    "NoneSpec",
    "SlidingWindowUcb",
    "UniformArms",
    "UniformSpec",
]
