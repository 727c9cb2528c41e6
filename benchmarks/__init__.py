"""Sections of `benchmarks.__main__`, and the bare loops that they compare with."""
