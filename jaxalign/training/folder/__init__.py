"""The folder of a run: who holds it, what it was asked, what it wrote."""
