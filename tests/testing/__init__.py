"""Tests of ``valetkey.testing``."""
