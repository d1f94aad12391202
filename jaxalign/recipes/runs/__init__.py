"""A training run from its folder to its end: model, state, steps, card and export."""
