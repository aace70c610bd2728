"""Shared code of all views: cookies, CSRF protection, headers, pages and error responses."""
