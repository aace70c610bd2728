"""Pages that mail a link: to sign up, to set a password, or to confirm an address."""
