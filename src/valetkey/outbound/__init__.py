"""What leaves the house: mail, and the worker that sees to the outbox."""
