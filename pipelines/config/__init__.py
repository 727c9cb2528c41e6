"""The configuration: its schema, composing, checks and hints; the only place that knows Hydra."""
