"""Name the operations and schemas of an OpenAPI document so that client generators can use the names.

Generators turn names into functions, classes and files: a name has only ASCII letters, digits and underscores, and no
two names are equal without regard to case and underscores. A name depends only on the code of the app, not on the
order of its routes.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from valetkey.resource_server.routes import Route

from .path_parameters import parameter_names
from .security import PROBLEM_SCHEMA_NAME

Key = TypeVar("Key")
_MODE_SUFFIX = re.compile(r"-(Input|Output)(?=$|__\d+$)")  # pydantic's, if the schema differs in requests and responses


def name_operations(operations: Mapping[tuple[str, str], Route]) -> dict[tuple[str, str], str]:
    """Return the ``operationId`` of each operation.

    The id is the endpoint, with the HTTP method if the view is a class or has several methods. If an endpoint has
    several paths, the ids of those with parameters name these, such as ``notes_get_by_note_id``, or the path.

    :param operations: the route of each operation, by path template and method in upper case.
    """
    methods: dict[str, set[str]] = defaultdict(set)
    for (_, method), route in operations.items():
        methods[route.endpoint].add(method)
    return _unique_names(
        {
            (path, method): _operation_id_candidates(
                route, path, method if _is_class_view(route) or len(methods[route.endpoint]) > 1 else ""
            )
            for (path, method), route in operations.items()
        }
    )


def name_components(definitions: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the name in ``components/schemas`` of each schema that pydantic made of a type.

    It is the title that the type's author set, else the name of the class, with its type arguments: ``PageNote`` for
    ``Page[Note]``. If the schema of a type differs in requests and responses, the name of the former ends in ``Input``.
    The names of types of the same name begin with parts of their modules' names. No name is that of the schema of error
    responses.

    :param definitions: the schemas by the names that pydantic generated.
    """
    candidates = {}
    for key, schema in definitions.items():
        mode = _MODE_SUFFIX.search(key)
        suffix = "Input" if mode and mode[1] == "Input" else ""
        qualified_name = _MODE_SUFFIX.sub("", key)
        parts = qualified_name.split("__")  # of the module, then the class
        qualified = [_class_name(" ".join(parts[-count:])) for count in range(2, len(parts) + 1)]
        candidates[key] = [name + suffix for name in (_class_name(schema.get("title") or qualified_name), *qualified)]
    return _unique_names(candidates, reserved=[PROBLEM_SCHEMA_NAME])


def _is_class_view(route: Route) -> bool:
    return hasattr(route.view_function, "view_class")


def _operation_id_candidates(route: Route, path: str, method: str) -> list[str]:
    base = "_".join(filter(None, [_identifier(route.endpoint), method.lower()]))
    parameters = [_identifier(name) for name in parameter_names(path)]
    by_parameters = "_".join([base, "by", "_and_".join(parameters)]) if parameters else base
    return [base, by_parameters, f"{base}_{_identifier(path)}"]


def _identifier(text: str) -> str:
    """Return a text with each run of characters other than ASCII letters and digits replaced by an underscore."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    name = re.sub(r"[\W_]+", "_", ascii_text).strip("_") or "unnamed"
    return f"_{name}" if name[0].isdigit() else name


def _class_name(text: str) -> str:
    """Return a text as the name of a class: unchanged if it can be one, else its words with capital initials."""
    if re.fullmatch(r"[A-Za-z]\w*", text, re.ASCII) and "__" not in text:
        return text
    return "".join(word[:1].upper() + word[1:] for word in _identifier(text).split("_")) or "Unnamed"


def _unique_names(candidates: Mapping[Key, Sequence[str]], reserved: Iterable[str] = ()) -> dict[Key, str]:
    """Return a name for each key: the first of its candidates that no other key has, else the last with a number.

    :param reserved: names that no key may have.
    """
    names: dict[Key, str] = {}
    for position in range(max(map(len, candidates.values()), default=0)):
        proposals = {key: texts[min(position, len(texts) - 1)] for key, texts in candidates.items() if key not in names}
        counts = Counter(_comparable(name) for name in (*reserved, *names.values(), *proposals.values()))
        names |= {key: name for key, name in proposals.items() if counts[_comparable(name)] == 1}
    used = {_comparable(name) for name in (*reserved, *names.values())}
    for key in sorted(candidates.keys() - names.keys(), key=str):
        base = candidates[key][-1]
        numbered = (f"{base}{number}" for number in itertools.count(2))
        names[key] = next(name for name in itertools.chain([base], numbered) if _comparable(name) not in used)
        used.add(_comparable(names[key]))
    return names


def _comparable(name: str) -> str:
    return name.replace("_", "").lower()
