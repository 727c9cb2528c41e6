"""Intrinsic rewards: novelty within an episode (episodic memory) and over all of training (random distillation)."""
