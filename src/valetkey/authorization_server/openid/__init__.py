"""OpenID Connect: ID tokens, userinfo, subjects and logout."""
