"""What becomes of runs that are asked to stop, or killed, at random moments."""
