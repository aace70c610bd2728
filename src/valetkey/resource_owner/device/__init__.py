"""Pages on which a user connects a device (RFC 8628 §3.3)."""
