"""What all views share: cookies, CSRF, headers, how a page and a refusal look."""
