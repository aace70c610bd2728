"""A decision on a consent page takes effect only once, however often the form is sent."""

from __future__ import annotations

from collections import Counter

from tests.races.service import Service
from tests.support.concurrent_requests import post_request, send_together
from tests.support.database import fetch_rows
from tests.support.form import parse_forms
from tests.support.user import CALLBACK
from tests.support.web_app import WebApp, code_from_redirect


def test_a_consent_form_that_is_sent_50_times_at_once_issues_one_code(service: Service) -> None:
    maya = service.maya
    service.web_app.obtain_code(maya)  # signs her in
    new_app = WebApp.register(service.deployment)
    page = maya.get_page(new_app.authorization_url())
    [form] = [form for form in parse_forms(page.text) if "allow" in form.buttons]
    fields = form.fill_in({}, "allow")
    cookie = "; ".join(f"{name}={value}" for name, value in maya.cookies.items())
    responses = send_together(
        [post_request(service.ports[n % 2], page.url.path, fields, cookie=cookie) for n in range(50)]
    )
    assert Counter(response.status for response in responses) == {303: 50}
    [location] = {response.headers["location"] for response in responses}
    assert location.startswith(CALLBACK) and code_from_redirect(location)
    for table in ("valetkey_codes", "valetkey_grants", "valetkey_consents"):
        query = f"SELECT client_id FROM {table} WHERE client_id = '{new_app.client_id}'"
        assert len(fetch_rows(service.database_url, query)) == 1, table
