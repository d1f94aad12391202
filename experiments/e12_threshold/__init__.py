"""When a policy should speak: the threshold law, and stated confidence."""
