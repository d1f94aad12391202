"""E5: learning to say "I don't know"."""
