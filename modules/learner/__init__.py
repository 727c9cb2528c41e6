"""The learner, and how stale what it learns from is."""
