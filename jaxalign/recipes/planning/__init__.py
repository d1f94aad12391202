"""A run's programs compiled for machines that are not there, and what they need."""
