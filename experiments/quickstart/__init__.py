"""Facts, made-up answers and abstention, on a model small enough for a laptop."""
