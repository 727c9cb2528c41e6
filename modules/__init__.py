"""The parts that a pipeline is made of; no Hydra, no OmegaConf, no global state."""
