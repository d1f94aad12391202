"""E10: reward models and their losses."""
