"""Sign-in with an account at another provider: Google, or any OpenID Provider."""
