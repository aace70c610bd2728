"""What may happen once, asked for by many at once, from two server processes and more."""
