"""The developer portal of an app with a ``ResourceServer``: it needs no database, cookies or forms."""
