"""The pages: accounts, consent, connected apps."""
