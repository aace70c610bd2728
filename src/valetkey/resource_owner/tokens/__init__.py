"""Pages on which a user creates, lists and revokes personal access tokens."""
