"""OAuth clients: registration, management and removal, and the logos that consent pages show."""
