"""Judges that a server answers for: any that speaks OpenAI's chat completions."""
