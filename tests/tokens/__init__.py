"""Keys, tokens, verdicts and the revocation feed."""
