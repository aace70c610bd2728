"""Find breaking changes between two OpenAPI documents."""
