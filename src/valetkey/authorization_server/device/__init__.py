"""The device authorization grant (RFC 8628): the endpoint for devices, and the approval by the user."""
