"""In-process caches of database rows, and the change feed: the table that tells each process what has changed."""
