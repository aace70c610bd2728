"""The OpenAPI document of the app's routes."""
