"""The OpenAPI document of another Flask extension: read it, and find the routes of its operations."""
