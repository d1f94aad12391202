"""E8: rewards of a judge with biases, and of a verifier that errs."""
