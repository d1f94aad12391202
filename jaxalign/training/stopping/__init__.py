"""How a run is asked to stop, and how it ends."""
