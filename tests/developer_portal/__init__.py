"""The API reference and the documents beside it."""
