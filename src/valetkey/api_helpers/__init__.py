"""Small things that a good API has, each usable alone."""
