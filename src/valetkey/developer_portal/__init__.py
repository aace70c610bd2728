"""The developer portal: the API reference page, the OpenAPI document, llms.txt, API catalog and security.txt."""
