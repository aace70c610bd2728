"""People: their accounts, passwords and sign-ins."""
