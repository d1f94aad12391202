"""Model folders: where they are, their tensors and texts, in and out."""
