"""The page on which users look through what can use their account, and end it."""
