"""Sparse fields, deprecation, conditional requests, body sizes: in a plain Flask app, without a Valetkey."""

from __future__ import annotations

from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import http_sf
import pytest
from flask import Flask, jsonify, request
from flask.testing import FlaskClient
from flask.views import MethodView

from tests.conftest import MakeApp
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
KNOWN = ("id", "title", "author.name", "author.mail")


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
    app.add_url_rule("/one", "one", sparse_fields(*KNOWN)(lambda: BOOK))
    app.add_url_rule("/many", "many", sparse_fields(*KNOWN)(lambda: jsonify([BOOK, BOOK])))
    app.add_url_rule("/page", "page", sparse_fields(*KNOWN, within="items")(lambda: {"items": [BOOK], "next": "n"}))
    app.add_url_rule("/gone", "gone", sparse_fields(*KNOWN)(lambda: ({"error": "gone"}, 410)))
    return http


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("id", {"id": 1}),
        ("title,id", {"id": 1, "title": "Ways"}),
        ("author.name", {"author": {"name": "Ada"}}),
        ("author.name,author", {"author": BOOK["author"]}),
        ("author,author.mail, id", {"author": BOOK["author"], "id": 1}),
    ],
)
def test_only_the_fields_that_are_asked_for_come(books: FlaskClient, asked: str, answered: dict[str, Any]) -> None:
    assert books.get(f"/one?fields={asked}").json == answered
    assert books.get(f"/many?fields={asked}").json == [answered, answered]
    assert books.get(f"/page?fields={asked}").json == {"items": [answered], "next": "n"}


def test_without_fields_all_come_and_errors_stay_whole(books: FlaskClient) -> None:
    assert books.get("/one").json == BOOK
    assert books.get("/gone?fields=id").json == {"error": "gone"}
    assert books.get("/one?fields=id&fields=title").json == {"id": 1, "title": "Ways"}


@pytest.mark.parametrize("names", [(), ("id,title",), ("id", " title")])
def test_names_of_fields_are_told_one_by_one(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="name each field"):
        sparse_fields(*names)


@pytest.mark.parametrize("asked", ["colour", "id,colour", "author.age", "", "id,", "auth", "author.name.x", "stock"])
def test_an_unknown_field_is_told_with_the_known_ones(books: FlaskClient, asked: str) -> None:
    refused = books.get(f"/one?fields={asked}")

    assert (refused.status_code, refused.mimetype) == (400, "application/problem+json")
    assert "there are id, title, author.name, author.mail" in refused.json["detail"]
    assert refused.json["known_fields"] == list(KNOWN)


# -- deprecation


@pytest.mark.parametrize("since", ["2023-06-30T23:59:59Z", datetime(2023, 6, 30, 23, 59, 59, tzinfo=UTC), 1688169599])
def test_a_deprecated_route_says_since_when_until_when_and_where_to_read(
    app: Flask, http: FlaskClient, since: Any
) -> None:
    mark = deprecated(since=since, sunset=date(2024, 1, 1), link="https://api.example/v2")
    app.add_url_rule("/old", "old", mark(lambda: "old"))

    told = http.get("/old").headers

    assert told["Deprecation"] == "@1688169599"
    assert told["Sunset"] == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert told.getlist("Link") == [
        '<https://api.example/v2>; rel="deprecation"; type="text/html"',
        '<https://api.example/v2>; rel="sunset"; type="text/html"',
    ]
    parsed, _ = http_sf.parse(told["Deprecation"].encode(), tltype="item")
    assert parsed == datetime.fromtimestamp(1688169599, UTC)
    assert app.view_functions["old"].__valetkey_deprecated__.sunset == 1704067200  # type: ignore[attr-defined]


def test_a_class_of_views_may_be_deprecated(app: Flask, http: FlaskClient) -> None:
    class Old(MethodView):
        decorators = [deprecated(since="2023-01-01")]  # noqa: RUF012

        def get(self) -> str:
            return "old"

    app.add_url_rule("/old", view_func=Old.as_view("old"))

    assert http.get("/old").headers["Deprecation"] == "@1672531200"
    assert "Sunset" not in http.get("/old").headers


@pytest.mark.parametrize("wrong", [{"since": "soon"}, {"since": "2024-01-01", "sunset": "2023-01-01"}])
def test_a_wrong_date_is_told_where_it_stands(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"write it like|must not come before"):
        deprecated(**wrong)
    with pytest.raises(ValueError, match="no URL"):
        deprecated(since=0, link='https://a>; rel="next"')


# -- conditional requests


class Shelf:
    """One note with a version."""

    def __init__(self) -> None:
        self.version = 1

    def add_to(self, app: Flask) -> None:
        app.add_url_rule("/content", "content", etagged(lambda: jsonify(v=self.version)))
        app.add_url_rule("/weak", "weak", etagged(weak=True)(lambda: jsonify(v=self.version)))
        app.add_url_rule("/note", "note", etagged(lambda: ("note", 200, {"ETag": etag_of(self.version)})))
        app.add_url_rule("/note", "change", self.change, methods=["PUT"])
        app.add_url_rule("/made", "made", self.make, methods=["PUT"])

    def change(self) -> str:
        check_preconditions(etag_of(self.version), last_modified=datetime(2024, 1, 1, tzinfo=UTC), required=True)
        self.version += 1
        return "changed"

    def make(self) -> str:
        check_preconditions(None if self.version == 1 else etag_of(self.version), required=True)
        self.version += 1
        return "made"


@pytest.fixture
def shelf(app: Flask) -> Shelf:
    shelf = Shelf()
    shelf.add_to(app)
    return shelf


@pytest.mark.parametrize("path", ["/content", "/weak", "/note"])
def test_who_has_it_already_gets_304_until_it_changes(http: FlaskClient, shelf: Shelf, path: str) -> None:
    etag = http.get(path).headers["ETag"]
    assert etag.startswith('W/"') == (path == "/weak")

    same = http.get(path, headers={"If-None-Match": etag})
    shelf.version = 2
    changed = http.get(path, headers={"If-None-Match": etag})

    assert (same.status_code, same.data, same.headers["ETag"]) == (304, b"", etag)
    assert changed.status_code == 200 and changed.headers["ETag"] != etag


def test_a_reader_may_ask_for_one_state_only(http: FlaskClient, shelf: Shelf) -> None:
    etag = http.get("/note").headers["ETag"]

    asked = [http.get("/note", headers={"If-Match": tag}).status_code for tag in ("*", etag, '"x"', f"W/{etag}")]

    assert asked == [200, 200, 412, 412]


def test_a_change_of_what_was_read_goes_through_once(http: FlaskClient, shelf: Shelf) -> None:
    etag = http.get("/note").headers["ETag"]

    first, second = (http.put("/note", headers={"If-Match": etag}) for _ in range(2))

    assert (first.status_code, second.status_code, shelf.version) == (200, 412, 2)
    assert second.mimetype == "application/problem+json"
    assert second.headers["ETag"] == http.get("/note").headers["ETag"]


def test_a_change_without_a_condition_is_428_where_one_is_required(http: FlaskClient, shelf: Shelf) -> None:
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
def test_the_conditions_of_rfc_9110_section_13(
    http: FlaskClient, shelf: Shelf, headers: dict[str, str], status: int
) -> None:
    assert http.put("/note", headers=headers).status_code == status


def test_what_is_not_there_yet_can_be_made_once(http: FlaskClient, shelf: Shelf) -> None:
    assert http.put("/made", headers={"If-Match": "*"}).status_code == 412
    assert http.put("/made", headers={"If-None-Match": "*"}).status_code == 200
    assert http.put("/made", headers={"If-None-Match": "*"}).status_code == 412


@pytest.mark.parametrize("sent", [etag_of(1, weak=True), etag_of(1)])
def test_a_weak_tag_of_ours_never_matches_for_a_change(app: Flask, sent: str) -> None:
    with app.test_request_context(headers={"If-Match": sent}), pytest.raises(Problem) as refused:
        check_preconditions(etag_of(1, weak=True))
    assert refused.value.code == 412


# -- body size


@pytest.fixture
def drop(app: Flask, http: FlaskClient) -> FlaskClient:
    read: Any = lambda: jsonify(len(request.get_data()))  # noqa: E731
    app.add_url_rule("/small", "small", max_body("1 KiB")(read), methods=["POST"])
    app.add_url_rule("/api/usual", "usual", read, methods=["POST"])
    app.add_url_rule("/api/large", "large", max_body(4000)(read), methods=["POST"])
    limit_bodies(app, "/api", "2 kB")
    return http


@pytest.mark.parametrize(("path", "most"), [("/small", 1024), ("/api/usual", 2000), ("/api/large", 4000)])
def test_a_body_over_the_bound_is_413_before_it_is_read(drop: FlaskClient, path: str, most: int) -> None:
    assert drop.post(path, data=b"x" * most).json == most

    refused = drop.post(path, data=b"x" * (most + 1))

    assert (refused.status_code, refused.mimetype) == (413, "application/problem+json")
    assert refused.json["maximum"] == most


@pytest.mark.parametrize(("path", "most"), [("/small", 1024), ("/api/usual", 2000), ("/api/large", 4000)])
def test_a_body_that_does_not_say_its_length_is_bounded_too(drop: FlaskClient, path: str, most: int) -> None:
    """Werkzeug's own bound ends such a body as if it were whole: half a photo would be kept."""

    def chunked(size: int) -> Any:
        how = {"wsgi.input_terminated": True, "CONTENT_LENGTH": None}
        return drop.post(path, input_stream=BytesIO(b"x" * size), headers=CHUNKED, environ_overrides=how)

    assert chunked(most).json == most
    for size in (most + 1, 2_000_000):
        refused = chunked(size)
        assert (refused.status_code, refused.json["maximum"]) == (413, most)


def test_a_form_of_unknown_length_is_bounded_before_it_is_parsed(app: Flask, http: FlaskClient) -> None:
    app.add_url_rule("/form", "form", max_body("1 KiB")(lambda: jsonify(request.form)), methods=["POST"])
    headers = {**CHUNKED, "Content-Type": "application/x-www-form-urlencoded"}
    how = {"wsgi.input_terminated": True}

    refused = http.post("/form", input_stream=BytesIO(b"a=" + b"x" * 5000), headers=headers, environ_overrides=how)

    assert refused.status_code == 413


@pytest.mark.parametrize(("text", "size"), [(5, 5), ("64 KiB", 65536), ("2MB", 2_000_000), ("1 gib", 1 << 30)])
def test_sizes_are_read_as_people_write_them(text: Any, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5 MB", "lots", "1 TB", "٣ kb"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="64 KiB"):
        parse_size(text)
    if text:
        with pytest.raises(SettingsError, match="max_body"):
            Settings(max_body=text)


def test_the_setting_bounds_all_bodies_of_the_api(make_app: MakeApp, sqlite_store_url: str) -> None:
    app = make_app(sqlite_store_url, max_body="1 kB")
    read: Any = public(lambda: jsonify(len(request.get_data())))
    app.add_url_rule("/api/read", "read", read, methods=["POST"])
    app.add_url_rule("/read", "read-elsewhere", read, methods=["POST"])
    app.add_url_rule("/api/more", "more", public(max_body("2 kB")(read)), methods=["POST"])
    http = app.test_client()

    sent = {path: http.post(path, data=b"x" * 1500) for path in ("/api/read", "/read", "/api/more")}

    assert {path: answer.status_code for path, answer in sent.items()} == {
        "/api/read": 413,
        "/read": 200,
        "/api/more": 200,
    }
    assert sent["/api/read"].json["reference"] == sent["/api/read"].headers["Request-Id"]


# -- problems and request ids


def test_a_hosts_own_refusal_is_a_problem(app: Flask, http: FlaskClient) -> None:
    def sold_out() -> Any:
        raise Problem(409, "it is sold out", [("Retry-After", "60")], left=0)

    app.add_url_rule("/buy", "buy", sold_out)

    refused = http.get("/buy")

    assert (refused.status_code, refused.headers["Retry-After"]) == (409, "60")
    assert refused.json.items() >= {"title": "Conflict", "detail": "it is sold out", "left": 0}.items()


def test_a_hosts_error_handler_comes_before_our_problem(app: Flask, http: FlaskClient) -> None:
    app.add_url_rule("/small", "small", max_body(1)(lambda: ""), methods=["POST"])
    app.register_error_handler(413, lambda error: ("mine", 413))

    assert http.post("/small", data=b"xx").text == "mine"


def test_request_ids_alone(app: Flask, http: FlaskClient) -> None:
    use_request_ids(app)
    app.add_url_rule("/id", "id", lambda: request_id())

    mine, made = http.get("/id", headers={"X-Request-Id": "mine"}), http.get("/id")

    assert mine.text == mine.headers["Request-Id"] == "mine"
    assert made.text == made.headers["Request-Id"] != "mine"


@pytest.mark.parametrize("decorate", [sparse_fields("id"), deprecated(since=0), etagged, max_body(10)])
def test_each_decorator_takes_async_views(app: Flask, http: FlaskClient, decorate: Any) -> None:
    async def view() -> Any:
        return {"id": 1}

    app.add_url_rule("/later", "later", decorate(view))

    assert http.get("/later?fields=id").json == {"id": 1}
