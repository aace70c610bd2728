"""The pages on which a person makes, lists and revokes personal access tokens."""
