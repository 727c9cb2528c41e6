"""The parts that a pipeline is made of; no Hydra, no OmegaConf, no global state."""

import os

# Before MKL's first product: else its sums depend on where in memory a tensor lies, on CPUs with AVX-512, and a resumed
# run differs in the last digits from one that was never interrupted.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
