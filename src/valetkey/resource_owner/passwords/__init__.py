"""The pages for passwords, mailed links and sign-ins."""
