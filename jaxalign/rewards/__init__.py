"""What scores text: rules, verifiers, reward models, judges."""
