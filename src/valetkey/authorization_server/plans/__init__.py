"""Plans of clients: subscribe, approve, request a change."""
