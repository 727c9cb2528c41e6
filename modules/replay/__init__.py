"""Replay: what was experienced, kept for learning."""
