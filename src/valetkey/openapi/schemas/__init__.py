"""JSON Schemas of an OpenAPI document: made from Python types, walked, and resolved."""
