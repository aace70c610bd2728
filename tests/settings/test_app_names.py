"""Names of apps, as ``valetkey --app`` takes them; and systems on which Valetkey does not run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from valetkey.service import load_app


@pytest.mark.parametrize(
    "name",
    [
        "shop_{}/app.py:create_app('Flowers')",
        "shop_{}/app.py:create_app(name='Flowers')",
        "shop_{}/app.py:app",
        "shop_{}/app.py:application",
        "shop_{}",
        "shop_{}/app",
        "shop_{}.app:make_app",
    ],
)
def test_an_app_has_the_names_that_flask_accepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, name: str
) -> None:
    """Also a factory with arguments, and a file in a package that imports from the package."""
    number = abs(hash(request.node.name)) % 100_000  # imported packages are not imported again
    package = tmp_path / f"shop_{number}"
    package.mkdir()
    (package / "names.py").write_text("SITE = 'Flowers'\n")
    (package / "__init__.py").write_text("from .app import app\n")
    (package / "app.py").write_text(
        "from flask import Flask\nfrom valetkey import Valetkey\nfrom .names import SITE\n"
        "def create_app(name):\n"
        "    app = Flask(__name__)\n    Valetkey(app, site_name=name, env_prefix=None)\n    return app\n"
        "def make_app():\n    return create_app(SITE)\n"
        "app = application = make_app()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    app = load_app(name.format(number))

    assert app.extensions["valetkey"].settings.name == "Flowers"


def test_windows_gets_a_sentence_and_no_traceback_of_a_missing_module() -> None:
    program = "import sys\nsys.platform = 'win32'\nimport valetkey"

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert result.stderr.splitlines()[-1].startswith("ImportError: Valetkey does not run on Windows: use ")
