"""Kills, outages and invalid setups: no confirmed write is lost, and every failure has a clear message."""
