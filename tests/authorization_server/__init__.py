"""The authorization server over Flask's test client, on both stores."""
