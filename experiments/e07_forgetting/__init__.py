"""E7: what SFT forgets and RL retains."""
