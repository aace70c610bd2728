"""Access tokens: generation, verification and signing keys. Encryption of stored data."""
