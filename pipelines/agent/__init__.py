"""A policy outside training: its environments, evaluations, and how it is loaded."""
