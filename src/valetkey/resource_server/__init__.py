"""The resource server (RFC 6749 §1.1): protected routes, ``WWW-Authenticate`` challenges, tokens of other issuers."""
