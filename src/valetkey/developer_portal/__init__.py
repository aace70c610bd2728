"""The pages and files for app developers: API reference, OpenAPI document, llms.txt, API catalog, security.txt."""
