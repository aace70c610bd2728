"""One file for each grant type; ``token_endpoint`` lists them."""
