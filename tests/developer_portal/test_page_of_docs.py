"""The programs in ``docs/api_reference.md`` run and build valid OpenAPI documents."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

PAGE = (Path(__file__).parents[2] / "docs" / "api_reference.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=["own", "flask-smorest"])
def test_each_program_builds_a_valid_document(program: str) -> None:
    names: dict[str, Any] = {"__name__": "documented"}
    exec(program, names)
    document = names["app"].test_client().get("/openapi.json").get_json()
    validate(document)
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert operations
    assert all(operation["security"] for operation in operations)
