"""The resource server (RFC 6749 §1.1): protected routes, their challenges, their limits."""
