"""The page of a request that was decided before."""
