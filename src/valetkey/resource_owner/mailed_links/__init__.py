"""The page that a mailed link opens."""
