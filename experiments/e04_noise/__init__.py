"""Preference losses on labels that are sometimes the wrong way round."""
