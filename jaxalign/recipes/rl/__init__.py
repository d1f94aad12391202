"""What the methods that learn from their own samples have in common."""
