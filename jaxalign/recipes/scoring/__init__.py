"""Who scores completions: rewards, judges, reward models, and the frozen reference."""
