"""A file per specification, a test per MUST and SHOULD that concerns us."""
