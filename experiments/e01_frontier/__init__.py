"""Preference losses and RL on the plane of reward and KL divergence."""
