"""The OpenAPI document of the app: built from its routes, or another extension's document with security added."""
