"""E6: reward over-optimisation."""
