"""Helpers that several test files use: real services, HTTP clients, and assertions.

Each service is started on a free loopback port and stopped at the end of the tests.
"""
