"""The token endpoint: authenticate the client, check the grant, issue tokens."""
