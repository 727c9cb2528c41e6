"""Runnable entry points and the training loop; the only package that knows Hydra."""
