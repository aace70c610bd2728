"""Pages for sign-in with providers."""
