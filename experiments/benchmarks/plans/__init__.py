"""What runs would need on TPUs: `jaxalign plan` for public model shapes."""
