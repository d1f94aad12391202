"""From a command line or a YAML file to a recipe's settings."""
