"""Losses, and the equations that they are made of."""
