"""Pages for resource owners: sign-in, consent, connected apps, devices, logout, passwords and personal tokens."""
