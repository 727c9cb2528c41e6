"""Meta-controllers: which member of a family of policies, an arm (β, γ), acts in each episode."""
