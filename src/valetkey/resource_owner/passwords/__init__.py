"""Pages for passwords, mailed links and sign-in sessions."""
