"""Pictures of runs: what one run learned, played, saw and visited, and the comparison of groups of runs."""
