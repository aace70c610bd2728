"""The guard: the code that verifies the access token before Flask runs a protected view."""
