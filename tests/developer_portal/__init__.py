"""Tests of the developer portal: the API reference page and the documents for programs."""
