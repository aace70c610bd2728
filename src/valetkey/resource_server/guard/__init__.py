"""The guard: the code that Flask runs before a protected view."""
