"""Pages for the developers who use the API: the API reference."""
