"""In-process caches, and the change feed that invalidates them."""
