"""Sections of `pipelines.benchmark`, and the bare loops that they compare with."""
