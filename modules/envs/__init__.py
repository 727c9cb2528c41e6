"""Environments, vectorised, with what acting needs."""
