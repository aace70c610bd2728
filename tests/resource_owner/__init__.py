"""Tests of the resource owner's pages: consent, connected apps, notices, personal access tokens."""
