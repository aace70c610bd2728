"""Access tokens of other issuers: which issuers are trusted, how their tokens are verified and read."""
