"""Pictures and text of the small worlds; a picture imports its world, never the other way round."""

from modules.envs.rendering import corridor, explore, shower, tiny, tour  # which registers them
from modules.envs.rendering.drawing import picture, text

__all__ = ["corridor", "explore", "picture", "shower", "text", "tiny", "tour"]
