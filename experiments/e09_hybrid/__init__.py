"""E9: a second stream beside PPO: texts to remember, or demonstrations."""
