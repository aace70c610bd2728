"""Protected routes: decorators, challenges, limits, outages."""
