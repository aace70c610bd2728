"""Logout endpoint (OpenID Connect RP-Initiated Logout 1.0), and the page after signing out."""
