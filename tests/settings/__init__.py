"""Tests of the settings and their sources."""
