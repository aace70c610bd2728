"""Plans, which limit the calls and scopes of clients: subscribe a client, approve, request another plan."""
