"""The authorization endpoint: check the request, prompt the user, record consent, issue a code."""
