"""Policies and episodes for others: a folder to share, the Hugging Face Hub, Minari's data sets."""
