"""RL estimators, and the place of the KL term."""
