"""How the pages look and behave in a real browser."""
