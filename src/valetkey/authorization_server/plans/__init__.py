"""Plans of clients: subscribe, approve, request another plan."""
