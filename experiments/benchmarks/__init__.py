"""Train steps of jaxalign and of other libraries, measured on the same work."""
