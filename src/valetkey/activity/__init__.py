"""Records of activity: audit events, refused requests, usage, and times of last use."""
