"""Sparse fields, deprecation, conditional requests, body sizes and request ids in a Flask app without Valetkey."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import http_sf
import pytest
from flask import Flask, abort, jsonify, request
from flask.testing import FlaskClient
from flask.views import MethodView

from tests.support.app import MakeApp
from valetkey import public
from valetkey.api_helpers import (
    Problem,
    check_preconditions,
    deprecated,
    etag_of,
    etagged,
    limit_bodies,
    max_body,
    request_id,
    sparse_fields,
    use_problems,
    use_request_ids,
)
from valetkey.protocol.size import parse_size
from valetkey.settings import Settings, SettingsError

BOOK = {"id": 1, "title": "Ways", "author": {"name": "Ada", "mail": "a@b.c"}, "stock": 3}
CHUNKED = {"Transfer-Encoding": "chunked"}
FIELDS = ("id", "title", "author.name", "author.mail")


@pytest.fixture
def app() -> Flask:
    app = Flask("plain")
    use_problems(app, "")
    return app


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


# -- sparse fields


@pytest.fixture
def books(app: Flask, http: FlaskClient) -> FlaskClient:
    app.add_url_rule("/one", "one", sparse_fields(*FIELDS)(lambda: BOOK))
    app.add_url_rule("/many", "many", sparse_fields(*FIELDS)(lambda: jsonify([BOOK, BOOK])))
    app.add_url_rule("/page", "page", sparse_fields(*FIELDS, within="items")(lambda: {"items": [BOOK], "next": "n"}))
    app.add_url_rule("/gone", "gone", sparse_fields(*FIELDS)(lambda: ({"error": "gone"}, 410)))
    return http


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("id", {"id": 1}),
        ("title,id", {"id": 1, "title": "Ways"}),
        ("author.name", {"author": {"name": "Ada"}}),
        ("author.name,author", {"author": BOOK["author"]}),
        ("author,author.mail, id", {"author": BOOK["author"], "id": 1}),
    ],
)
def test_only_the_requested_fields_are_returned(books: FlaskClient, fields: str, expected: dict[str, Any]) -> None:
    assert books.get(f"/one?fields={fields}").json == expected
    assert books.get(f"/many?fields={fields}").json == [expected, expected]
    assert books.get(f"/page?fields={fields}").json == {"items": [expected], "next": "n"}


def test_responses_without_fields_and_error_responses_are_not_filtered(books: FlaskClient) -> None:
    assert books.get("/one").json == BOOK
    assert books.get("/gone?fields=id").json == {"error": "gone"}
    assert books.get("/one?fields=id&fields=title").json == {"id": 1, "title": "Ways"}


@pytest.mark.parametrize("names", [(), ("id,title",), ("id", " title")])
def test_each_field_must_be_a_string_of_its_own(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="pass each field"):
        sparse_fields(*names)


@pytest.mark.parametrize("fields", ["colour", "id,colour", "author.age", "", "id,", "auth", "author.name.x", "stock"])
def test_an_unknown_field_is_refused_with_the_valid_fields(books: FlaskClient, fields: str) -> None:
    refused = books.get(f"/one?fields={fields}")

    assert (refused.status_code, refused.mimetype) == (400, "application/problem+json")
    assert "the fields are id, title, author.name, author.mail" in refused.json["detail"]
    assert refused.json["known_fields"] == list(FIELDS)


# -- deprecation


@pytest.mark.parametrize("since", ["2023-06-30T23:59:59Z", datetime(2023, 6, 30, 23, 59, 59, tzinfo=UTC), 1688169599])
def test_a_deprecated_route_has_deprecation_sunset_and_link_headers(app: Flask, http: FlaskClient, since: Any) -> None:
    decorate = deprecated(since=since, sunset=date(2024, 1, 1), link="https://api.example/v2")
    app.add_url_rule("/old", "old", decorate(lambda: "old"))

    headers = http.get("/old").headers

    assert headers["Deprecation"] == "@1688169599"
    assert headers["Sunset"] == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert headers.getlist("Link") == [
        '<https://api.example/v2>; rel="deprecation"; type="text/html"',
        '<https://api.example/v2>; rel="sunset"; type="text/html"',
    ]
    parsed, _ = http_sf.parse(headers["Deprecation"].encode(), tltype="item")
    assert parsed == datetime.fromtimestamp(1688169599, UTC)
    assert app.view_functions["old"].__valetkey_deprecated__.sunset == 1704067200  # type: ignore[attr-defined]  # set by deprecated


def test_errors_of_a_deprecated_route_have_the_headers_too(app: Flask, http: FlaskClient) -> None:
    def fail(kind: str) -> Any:
        if kind == "problem":
            raise Problem(409, "it is sold out")
        if kind == "key":
            raise KeyError
        abort(404)

    app.add_url_rule("/old/<kind>", "old", deprecated(since="2023-01-01")(fail))
    app.register_error_handler(KeyError, lambda error: ("mine", 422))

    for kind, status in (("abort", 404), ("problem", 409), ("key", 422)):
        response = http.get(f"/old/{kind}")
        assert (response.status_code, response.headers.getlist("Deprecation")) == (status, ["@1672531200"])
        assert response.mimetype == ("text/html" if kind == "key" else "application/problem+json")


def test_a_deprecated_view_that_is_run_again_has_each_header_once(app: Flask, http: FlaskClient) -> None:
    results = iter([ConnectionError(), "old"])

    def view() -> Any:
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    old = deprecated(since="2023-01-01", link="https://api.example/v2")(view)

    @app.get("/old")
    def run_again() -> Any:
        with contextlib.suppress(ConnectionError):
            return old()
        return old()

    headers = http.get("/old").headers

    assert [len(headers.getlist(name)) for name in ("Deprecation", "Link")] == [1, 1]


def test_a_class_based_view_may_be_deprecated(app: Flask, http: FlaskClient) -> None:
    class Old(MethodView):
        decorators = [deprecated(since="2023-01-01")]  # noqa: RUF012  # Flask documents a list

        def get(self) -> str:
            return "old"

    app.add_url_rule("/old", view_func=Old.as_view("old"))

    assert http.get("/old").headers["Deprecation"] == "@1672531200"
    assert "Sunset" not in http.get("/old").headers


@pytest.mark.parametrize("wrong", [{"since": "soon"}, {"since": "2024-01-01", "sunset": "2023-01-01"}])
def test_wrong_dates_and_links_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"write it like|must not come before"):
        deprecated(**wrong)
    for link in ('https://a>; rel="next"', "https://a\n", "https://a b", "\0", ""):
        with pytest.raises(ValueError, match="not a URL"):
            deprecated(since=0, link=link)


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("https://api.example/日本?q=ü#ß", "https://api.example/%E6%97%A5%E6%9C%AC?q=%C3%BC#%C3%9F"),
        ("https://例え.jp/v2", "https://xn--r8jz45g.jp/v2"),
        ("/v2/caf%C3%A9", "/v2/caf%C3%A9"),
    ],
)
def test_a_link_that_is_not_ascii_is_encoded(app: Flask, http: FlaskClient, link: str, url: str) -> None:
    app.add_url_rule("/old", "old", deprecated(since=0, link=link)(lambda: "old"))

    assert http.get("/old").headers["Link"] == f'<{url}>; rel="deprecation"; type="text/html"'


# -- exceptions


@pytest.mark.parametrize(
    "helper",
    [deprecated(since="2023-01-01"), etagged, sparse_fields("id"), max_body("1 KiB")],
    ids=["deprecated", "etagged", "sparse_fields", "max_body"],
)
def test_a_decorator_around_a_helper_sees_the_exceptions_of_the_view(
    app: Flask, http: FlaskClient, helper: Any
) -> None:
    """Otherwise a decorator that ends a transaction would commit what the view has changed before it failed."""
    ends: list[str] = []
    app.register_error_handler(KeyError, lambda error: ("mine", 422))
    app.add_url_rule("/view", "view", in_transaction(ends)(helper(lambda: {}["missing"])))

    status = http.get("/view?fields=id").status_code

    assert (status, ends) == (422, ["KeyError"])


def in_transaction(ends: list[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a decorator that adds how a call of the view ended: ``commit``, or the name of its exception."""

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(view)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                response = view(*args, **kwargs)
            except Exception as error:
                ends.append(type(error).__name__)
                raise
            ends.append("commit")
            return response

        return call

    return decorate


# -- conditional requests


class Shelf:
    """An API with one note, which has a version."""

    def __init__(self) -> None:
        self.version = 1

    def add_to(self, app: Flask) -> None:
        app.add_url_rule("/content", "content", etagged(lambda: jsonify(v=self.version)))
        app.add_url_rule("/weak", "weak", etagged(weak=True)(lambda: jsonify(v=self.version)))
        app.add_url_rule("/note", "note", etagged(lambda: ("note", 200, {"ETag": etag_of(self.version)})))
        app.add_url_rule("/note", "change", self.change, methods=["PUT"])
        app.add_url_rule("/new", "new", self.create, methods=["PUT"])

    def change(self) -> str:
        check_preconditions(etag_of(self.version), last_modified=datetime(2024, 1, 1, tzinfo=UTC), required=True)
        self.version += 1
        return "changed"

    def create(self) -> str:
        check_preconditions(None if self.version == 1 else etag_of(self.version), required=True)
        self.version += 1
        return "created"


@pytest.fixture
def shelf(app: Flask) -> Shelf:
    shelf = Shelf()
    shelf.add_to(app)
    return shelf


@pytest.mark.parametrize("path", ["/content", "/weak", "/note"])
def test_a_request_with_the_current_etag_gets_304_until_the_content_changes(
    http: FlaskClient, shelf: Shelf, path: str
) -> None:
    etag = http.get(path).headers["ETag"]
    assert etag.startswith('W/"') == (path == "/weak")

    unchanged = http.get(path, headers={"If-None-Match": etag})
    shelf.version = 2
    changed = http.get(path, headers={"If-None-Match": etag})

    assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", etag)
    assert changed.status_code == 200 and changed.headers["ETag"] != etag


def test_a_get_with_if_match_requires_the_current_strong_etag(http: FlaskClient, shelf: Shelf) -> None:
    etag = http.get("/note").headers["ETag"]

    statuses = [http.get("/note", headers={"If-Match": tag}).status_code for tag in ("*", etag, '"x"', f"W/{etag}")]

    assert statuses == [200, 200, 412, 412]


def test_a_change_with_the_same_etag_succeeds_once(http: FlaskClient, shelf: Shelf) -> None:
    etag = http.get("/note").headers["ETag"]

    first, second = (http.put("/note", headers={"If-Match": etag}) for _ in range(2))

    assert (first.status_code, second.status_code, shelf.version) == (200, 412, 2)
    assert second.mimetype == "application/problem+json"
    assert second.headers["ETag"] == http.get("/note").headers["ETag"]


def test_a_change_without_a_required_precondition_is_428(http: FlaskClient, shelf: Shelf) -> None:
    refused = http.put("/note")

    assert (refused.status_code, shelf.version) == (428, 1)
    assert "If-Match" in refused.json["detail"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": "*"}, 200),
        ({"If-Match": f'"x", {etag_of(1)}'}, 200),
        ({"If-Match": f"W/{etag_of(1)}"}, 412),
        ({"If-Match": ""}, 412),
        ({"If-Match": '"x"', "If-Unmodified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 412),
        ({"If-Unmodified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}, 200),
        ({"If-Unmodified-Since": "Sun, 31 Dec 2023 23:59:59 GMT"}, 412),
        ({"If-None-Match": "*"}, 412),
        ({"If-None-Match": f"W/{etag_of(1)}"}, 412),
        ({"If-None-Match": '"x"'}, 428),
        ({"If-None-Match": '"x"', "If-Match": "*"}, 200),
        ({"If-Unmodified-Since": "yesterday"}, 428),
    ],
)
def test_preconditions_are_evaluated_as_in_rfc_9110_section_13(
    http: FlaskClient, shelf: Shelf, headers: dict[str, str], status: int
) -> None:
    assert http.put("/note", headers=headers).status_code == status


def test_if_none_match_star_creates_a_resource_once(http: FlaskClient, shelf: Shelf) -> None:
    assert http.put("/new", headers={"If-Match": "*"}).status_code == 412
    assert http.put("/new", headers={"If-None-Match": "*"}).status_code == 200
    assert http.put("/new", headers={"If-None-Match": "*"}).status_code == 412


@pytest.mark.parametrize("sent", [etag_of(1, weak=True), etag_of(1)])
def test_a_weak_etag_never_matches_if_match(app: Flask, sent: str) -> None:
    with app.test_request_context(headers={"If-Match": sent}), pytest.raises(Problem) as refused:
        check_preconditions(etag_of(1, weak=True))
    assert refused.value.code == 412


# -- body size


@pytest.fixture
def uploads(app: Flask, http: FlaskClient) -> FlaskClient:
    def read() -> Any:
        return jsonify(len(request.get_data()))

    app.add_url_rule("/small", "small", max_body("1 KiB")(read), methods=["POST"])
    app.add_url_rule("/api/usual", "usual", read, methods=["POST"])
    app.add_url_rule("/api/large", "large", max_body(4000)(read), methods=["POST"])
    limit_bodies(app, "/api", "2 kB")
    return http


@pytest.mark.parametrize(("path", "max_bytes"), [("/small", 1024), ("/api/usual", 2000), ("/api/large", 4000)])
def test_a_body_that_is_too_large_is_413(uploads: FlaskClient, path: str, max_bytes: int) -> None:
    assert uploads.post(path, data=b"x" * max_bytes).json == max_bytes

    refused = uploads.post(path, data=b"x" * (max_bytes + 1))

    assert (refused.status_code, refused.mimetype) == (413, "application/problem+json")
    assert refused.json["maximum"] == max_bytes


@pytest.mark.parametrize(("path", "max_bytes"), [("/small", 1024), ("/api/usual", 2000), ("/api/large", 4000)])
def test_a_large_body_of_unknown_length_is_413(uploads: FlaskClient, path: str, max_bytes: int) -> None:
    """Werkzeug's own limit truncates such a body without an error: half a photo would be saved."""

    def send_chunked(size: int) -> Any:
        environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": None}
        return uploads.post(path, input_stream=BytesIO(b"x" * size), headers=CHUNKED, environ_overrides=environ)

    assert send_chunked(max_bytes).json == max_bytes
    for size in (max_bytes + 1, 2_000_000):
        refused = send_chunked(size)
        assert (refused.status_code, refused.json["maximum"]) == (413, max_bytes)


@pytest.mark.parametrize("decorated", ["post", "dispatch_request", "class"])
def test_max_body_of_a_class_based_view_replaces_the_limit_of_its_prefix(
    app: Flask, http: FlaskClient, decorated: str
) -> None:
    class Photos(MethodView):
        def post(self) -> Any:
            return jsonify(len(request.get_data()))

        def put(self) -> Any:
            return self.post()

    if decorated == "class":
        Photos.decorators = [max_body(4000)]
    else:
        setattr(Photos, decorated, max_body(4000)(getattr(Photos, decorated)))
    app.add_url_rule("/api/photos", view_func=Photos.as_view("photos"))
    limit_bodies(app, "/api", 2000)

    assert http.post("/api/photos", data=b"x" * 4000).json == 4000
    assert http.post("/api/photos", data=b"x" * 4001).json["maximum"] == 4000
    assert http.put("/api/photos", data=b"x" * 2001).status_code == (413 if decorated == "post" else 200)


def test_a_large_form_of_unknown_length_is_413(app: Flask, http: FlaskClient) -> None:
    app.add_url_rule("/form", "form", max_body("1 KiB")(lambda: jsonify(request.form)), methods=["POST"])
    headers = {**CHUNKED, "Content-Type": "application/x-www-form-urlencoded"}
    environ = {"wsgi.input_terminated": True}

    refused = http.post("/form", input_stream=BytesIO(b"a=" + b"x" * 5000), headers=headers, environ_overrides=environ)

    assert refused.status_code == 413


@pytest.mark.parametrize(("text", "size"), [(5, 5), ("64 KiB", 65536), ("2MB", 2_000_000), ("1 gib", 1 << 30)])
def test_sizes_with_units_are_parsed(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5 MB", "lots", "1 TB", "٣ kb"])
def test_text_that_is_not_a_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="64 KiB"):
        parse_size(text)
    if text:
        with pytest.raises(SettingsError, match="max_body"):
            Settings(max_body=text)


def test_the_max_body_setting_limits_all_bodies_of_the_api(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, max_body="1 kB")
    read: Any = public(lambda: jsonify(len(request.get_data())))
    app.add_url_rule("/api/read", "read", read, methods=["POST"])
    app.add_url_rule("/read", "read-elsewhere", read, methods=["POST"])
    app.add_url_rule("/api/more", "more", public(max_body("2 kB")(read)), methods=["POST"])
    http = app.test_client()

    responses = {path: http.post(path, data=b"x" * 1500) for path in ("/api/read", "/read", "/api/more")}

    assert {path: response.status_code for path, response in responses.items()} == {
        "/api/read": 413,
        "/read": 200,
        "/api/more": 200,
    }
    assert responses["/api/read"].json["reference"] == responses["/api/read"].headers["Request-Id"]


# -- problems and request ids


def test_a_raised_problem_becomes_problem_details(app: Flask, http: FlaskClient) -> None:
    def sold_out() -> Any:
        raise Problem(409, "it is sold out", [("Retry-After", "60")], left=0)

    app.add_url_rule("/buy", "buy", sold_out)

    refused = http.get("/buy")

    assert (refused.status_code, refused.headers["Retry-After"]) == (409, "60")
    assert refused.json.items() >= {"title": "Conflict", "detail": "it is sold out", "left": 0}.items()


def test_an_error_handler_of_the_app_replaces_the_problem(app: Flask, http: FlaskClient) -> None:
    app.add_url_rule("/small", "small", max_body(1)(lambda: ""), methods=["POST"])
    app.register_error_handler(413, lambda error: ("mine", 413))

    assert http.post("/small", data=b"xx").text == "mine"


def test_use_request_ids_works_without_valetkey(app: Flask, http: FlaskClient) -> None:
    use_request_ids(app)
    app.add_url_rule("/id", "id", lambda: request_id())

    own, generated = http.get("/id", headers={"X-Request-Id": "mine"}), http.get("/id")

    assert own.text == own.headers["Request-Id"] == "mine"
    assert generated.text == generated.headers["Request-Id"] != "mine"


@pytest.mark.parametrize("decorate", [sparse_fields("id"), deprecated(since=0), etagged, max_body(10)])
def test_each_decorator_accepts_async_views(app: Flask, http: FlaskClient, decorate: Any) -> None:
    async def view() -> Any:
        return {"id": 1}

    app.add_url_rule("/later", "later", decorate(view))

    assert http.get("/later?fields=id").json == {"id": 1}
