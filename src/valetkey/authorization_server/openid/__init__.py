"""OpenID Connect: ID tokens, the userinfo endpoint, subject identifiers and logout."""
