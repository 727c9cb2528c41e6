"""Pictures and text of the small worlds; a picture imports its world, never the other way round."""

from modules.envs.rendering import corridor, explore, shower, tiny, tour  # which registers them
from modules.envs.rendering.drawing import is_drawn, picture, text

__all__ = ["corridor", "explore", "is_drawn", "picture", "shower", "text", "tiny", "tour"]
