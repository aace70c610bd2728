"""Access tokens: signing keys, generation, verification; encryption of what is stored."""
