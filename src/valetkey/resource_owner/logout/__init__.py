"""Logout endpoint (OpenID Connect RP-Initiated Logout 1.0), and the page that is shown after the logout."""
