"""Access tokens that others issued: whom to trust, how to verify, how to read them."""
