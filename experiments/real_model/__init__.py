"""The whole chain on a real model: SFT, reward model, PPO, and what it changed."""
