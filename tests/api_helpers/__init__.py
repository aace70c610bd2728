"""Tests of ``valetkey.api_helpers``, each helper on its own."""
