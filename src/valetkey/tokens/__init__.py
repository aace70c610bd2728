"""Tokens: keys that sign them, minting, the verdict on one that comes back, revocation."""
