"""The page on which a person connects a device (RFC 8628 §3.3)."""
