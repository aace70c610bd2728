"""Kills, outages and wrong set-ups: what was answered stays, what cannot be done is said in a sentence."""
