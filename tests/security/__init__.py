"""Security: one named test per attack that was found or reported."""
