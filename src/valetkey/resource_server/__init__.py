"""The resource server (RFC 6749 §1.1): protection of routes, challenges, rate limits, tokens of other issuers."""
