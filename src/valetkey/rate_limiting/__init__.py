"""Rate limits and quotas: how they are parsed and counted, when calls are refused, and where counters are stored."""
