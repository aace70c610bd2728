"""``python -m valetkey`` is the ``valetkey`` command."""

from .cli import main

if __name__ == "__main__":
    main()
