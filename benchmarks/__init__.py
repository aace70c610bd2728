"""How fast, beside other servers, in one run."""
