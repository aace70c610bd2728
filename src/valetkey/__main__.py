"""Run the ``valetkey`` command as ``python -m valetkey``."""

from .cli import main

if __name__ == "__main__":
    main()
