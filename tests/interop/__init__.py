"""Client libraries and other software from third parties, tested with a running server."""
