"""From data files to the rows and prompts of a run, shown to people on the way."""
