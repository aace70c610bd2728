"""How often: limits as values, GCRA as the way to count, four stores to count in."""
