"""Tests of the entry points, started as processes."""
