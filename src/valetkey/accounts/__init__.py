"""Valetkey's built-in user accounts: passwords, sign-in, sign-out, and links that are sent by mail."""
