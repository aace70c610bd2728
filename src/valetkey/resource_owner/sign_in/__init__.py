"""Pages for sign-in and sign-up."""
