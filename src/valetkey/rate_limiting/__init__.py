"""Rate limits and quotas: their values, the GCRA limiter, the admission of calls, and four counter backends."""
