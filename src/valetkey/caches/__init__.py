"""Every in-process cache, and the change feed that invalidates them."""
