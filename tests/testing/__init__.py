"""What publishers test with."""
