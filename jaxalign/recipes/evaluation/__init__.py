"""What `jaxalign evaluate` is made of."""
