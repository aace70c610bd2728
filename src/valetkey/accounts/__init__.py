"""Built-in accounts of resource owners: passwords, sign-in, sign-out, links by mail."""
