"""Personal access tokens: create, list and revoke them, and remind users before they expire."""
