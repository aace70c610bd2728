"""Records of activity: audit events, refused requests, calls per client and route, and times of last use."""
