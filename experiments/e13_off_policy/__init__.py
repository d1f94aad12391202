"""E13: learning from what an older, or a coarser, policy sampled."""
