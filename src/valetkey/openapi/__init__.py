"""Build the app's OpenAPI document from its routes, or add security to the document of another Flask extension."""
