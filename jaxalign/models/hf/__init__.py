"""`config.json` of Hugging Face folders, read and written, family by family."""
