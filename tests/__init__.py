"""The tests; ``conftest.py`` and ``vocabulary.py`` hold the words that they are written in."""
