"""OAuth 2.0 Form Post Response Mode 1.0: the authorization response as a form that the browser posts."""

from __future__ import annotations

from tests.conformance.relying_party import MakeRelyingParty, RelyingParty, hidden_fields
from tests.support.browser_client import CALLBACK, ISSUER
from tests.support.store_assertions import assert_store_unchanged


def test_the_response_is_a_form_that_a_script_posts_to_the_client(rp: RelyingParty) -> None:
    """§2."""
    page = rp.complete_authorization(response_mode="form_post")

    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert f'<form method="post" action="{CALLBACK}">' in page.text
    assert page.text.count("<form") == 1
    assert hidden_fields(page).keys() == {"code", "state", "iss"}
    script = page.text.partition('<script src="')[2].partition('"')[0]
    with rp.get(script) as served:
        assert b"submit()" in served.data


def test_the_code_in_the_form_is_valid(rp: RelyingParty) -> None:
    """§2."""
    fields = hidden_fields(rp.complete_authorization(response_mode="form_post"))

    assert (fields["state"], fields["iss"]) == ("xyz", ISSUER)
    assert rp.redeem(fields["code"]).json["id_token"]


def test_the_code_is_not_in_a_url(rp: RelyingParty) -> None:
    """§4."""
    page = rp.complete_authorization(response_mode="form_post")
    code = hidden_fields(page)["code"]

    assert page.location is None
    assert page.text.count(code) == 1 and f'value="{code}"' in page.text


def test_an_error_is_posted_in_a_form_too(rp: RelyingParty) -> None:
    """§2."""
    rp.sign_out()
    silent = rp.authorize(prompt="none", response_mode="form_post")
    rp.sign_in_as("ada")
    denied = rp.deny(rp.authorize(response_mode="form_post").location)

    assert hidden_fields(silent)["error"] == "login_required"
    assert hidden_fields(denied)["error"] == "access_denied"
    assert {hidden_fields(page)["state"] for page in (silent, denied)} == {"xyz"}


def test_the_page_cannot_be_cached_or_framed_and_runs_no_other_scripts(rp: RelyingParty) -> None:
    """§4, RFC 9700 §4.16; the policy has no form-action, which would block the form."""
    page = rp.complete_authorization(response_mode="form_post")

    assert page.headers["Cache-Control"] == "no-store"
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy and "form-action" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["Referrer-Policy"] == "no-referrer"


def test_the_state_is_escaped_in_the_form(rp: RelyingParty) -> None:
    """§4."""
    state = '"><script>alert(1)</script>&amp;'

    page = rp.complete_authorization(response_mode="form_post", state=state)

    assert "<script>alert" not in page.text
    assert "&lt;script&gt;" in page.text and "&amp;amp;" in page.text
    assert hidden_fields(page)["state"] == state


def test_the_form_is_not_posted_to_an_unregistered_redirect_uri(rp: RelyingParty) -> None:
    """§2, RFC 9700 §4.11.2."""
    with assert_store_unchanged(rp.runtime):
        refused = rp.authorize(redirect_uri="https://evil.example/", response_mode="form_post")

    assert refused.status_code == 400
    assert "<form" not in refused.text.partition("</header>")[2]
    assert "evil.example" not in refused.text


def test_the_form_keeps_the_query_of_the_redirect_uri(make_relying_party: MakeRelyingParty) -> None:
    """§2."""
    uri = f"{CALLBACK}?a=1&b=2"
    rp = make_relying_party(redirect_uris=[uri])

    page = rp.complete_authorization(redirect_uri=uri, response_mode="form_post")

    assert f'action="{CALLBACK}?a=1&amp;b=2"' in page.text


def test_an_unsupported_response_mode_is_refused_by_redirect(rp: RelyingParty) -> None:
    """Multiple Response Types §2.1: fragment is for the implicit flow, which is not supported."""
    for mode in ("fragment", "web_message", "query.jwt"):
        assert "error=invalid_request" in rp.authorize(response_mode=mode).location
