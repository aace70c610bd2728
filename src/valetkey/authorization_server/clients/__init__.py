"""Clients: registration, management, removal, logos."""
