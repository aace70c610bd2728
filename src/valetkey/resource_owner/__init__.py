"""The pages of the resource owner: sign-in, consent, connected apps."""
