"""Networks: torso, memory and head, each swappable."""
