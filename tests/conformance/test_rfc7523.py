"""RFC 7523 and RFC 7521: client authentication by a signed assertion; OpenID Connect Core §9: ``private_key_jwt``."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any
from warnings import catch_warnings, simplefilter

import pytest
from flask import Flask
from flask.testing import FlaskClient
from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey
from werkzeug.test import TestResponse

from tests.conformance.client_website import ClientWebsite
from tests.conformance.registration import both_stores
from tests.support.browser_client import CALLBACK, Browser, Clock, assert_store_unchanged, count_rows
from valetkey.authorization_server.clients.service import CreatedClient, RegistrationRefused, register_client
from valetkey.protocol.secret import Secret
from valetkey.runtime import Runtime
from valetkey.storage import clients

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_ENDPOINT = "http://127.0.0.1:8000/oauth/token"
ISSUER = "http://127.0.0.1:8000"
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
STRANGER = ECKey.generate_key("P-256", {"kid": "ec"})
JWKS = {"keys": [key.as_dict(private=False) for key in (EC, ED, RSA)]}


@pytest.fixture
def store_url(request: pytest.FixtureRequest) -> str:
    """SQLite, but where what is tested is the store's work."""
    return str(request.getfixturevalue(f"{getattr(request, 'param', 'sqlite')}_store_url"))


class Robot:
    """A service that proves itself by its key."""

    def __init__(self, http: FlaskClient, client_id: str, clock: Clock) -> None:
        self.http = http
        self.client_id = client_id
        self.clock = clock
        self.made = 0

    def claims(self, **changes: Any) -> dict[str, Any]:
        """The claims of a good assertion, changed; None leaves one out."""
        self.made += 1
        now = int(self.clock())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": ISSUER,
            "exp": now + 60,
            "iat": now,
            "jti": f"n{self.made}",
            **changes,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def sign(self, key: Any = EC, alg: str = "ES256", header: Any = None, **changes: Any) -> str:
        told = {"alg": alg, "kid": key.kid, **(header or {})}
        payload = json.dumps(self.claims(**changes)).encode()
        return signed(told, payload, key)

    def send(self, assertion: str, path: str = "/oauth/token", **more: Any) -> TestResponse:
        sent = {"grant_type": "client_credentials", "token": "any"}
        sent |= {"client_assertion_type": TYPE, "client_assertion": assertion, **more}
        return self.http.post(path, data={name: value for name, value in sent.items() if value is not None})


def signed(header: dict[str, Any], payload: bytes, key: Any) -> str:
    with catch_warnings():
        simplefilter("ignore", SecurityWarning)  # of algorithms that a server must judge all the same
        return jws.serialize_compact(header, payload, key, algorithms=[header["alg"]])


@pytest.fixture
def robot(app: Flask, runtime: Runtime, clock: Clock) -> Robot:
    made = register_client(
        runtime, name="Robot", policy="machine", auth_method="private_key_jwt", members={"jwks": JWKS}
    )
    assert made.secret is None
    return Robot(app.test_client(), made.client_id, clock)


@pytest.fixture
def refused(robot: Robot, runtime: Runtime) -> Callable[..., None]:
    """See an assertion refused as any wrong proof is, with nothing new in the store."""

    def check(assertion: str, **more: Any) -> None:
        with assert_store_unchanged(runtime):
            answer = robot.send(assertion, **more)
        assert (answer.status_code, answer.json["error"]) == (401, "invalid_client"), answer.text
        assert answer.headers["WWW-Authenticate"]

    return check


@both_stores
@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
def test_an_assertion_proves_the_client_at_every_endpoint(robot: Robot, path: str) -> None:
    """RFC 7521 §4.2: client_id is not needed, for the subject says it."""
    assert robot.send(robot.sign(), path).status_code == 200
    assert robot.send(robot.sign(), path, client_id=robot.client_id).status_code == 200


@pytest.mark.parametrize(
    ("key", "alg"),
    [(EC, "ES256"), (RSA, "RS256"), (RSA, "PS256"), (ED, "EdDSA"), (ED, "Ed25519")],
    ids=["ES256", "RS256", "PS256", "EdDSA", "Ed25519"],
)
def test_every_algorithm_that_is_advertised_works(robot: Robot, key: Any, alg: str) -> None:
    """§5: RS256 and others; RFC 8414 §2: token_endpoint_auth_signing_alg_values_supported."""
    told = robot.http.get("/.well-known/oauth-authorization-server").json

    assert alg in told["token_endpoint_auth_signing_alg_values_supported"]
    assert "private_key_jwt" in told["token_endpoint_auth_methods_supported"]
    assert robot.send(robot.sign(key, alg)).status_code == 200


@pytest.mark.parametrize("aud", [ISSUER, TOKEN_ENDPOINT, [ISSUER], [ISSUER, TOKEN_ENDPOINT]], ids=str)
def test_the_audience_is_the_issuer_or_the_token_endpoint(robot: Robot, aud: Any) -> None:
    """RFC 7523 §3, 3."""
    assert robot.send(robot.sign(aud=aud)).status_code == 200


@pytest.mark.parametrize(
    "aud",
    [
        None,
        "",
        [],
        "https://other.example",
        [ISSUER, "https://other.example"],
        f"{ISSUER}/",
        f"{ISSUER}/oauth/introspect",
        {"a": ISSUER},
        [[ISSUER]],
        5,
    ],
    ids=str,
)
def test_an_assertion_for_anybody_else_is_refused(robot: Robot, refused: Callable[..., None], aud: Any) -> None:
    """RFC 7523 §3, 3: MUST reject; also where another server could bring it here (RFC 9700 §2.5)."""
    refused(robot.sign(aud=aud))


@pytest.mark.parametrize("name", ["iss", "sub", "exp", "jti"])
@pytest.mark.parametrize("value", [None, "", "another", 5, [], {}, True], ids=str)
def test_the_claims_that_are_required_must_be_right(
    robot: Robot, refused: Callable[..., None], name: str, value: Any
) -> None:
    """RFC 7523 §3, 1, 2, 4; OpenID Connect Core §9: jti REQUIRED."""
    if (name, value) != ("jti", "another"):  # that may be any text
        refused(robot.sign(**{name: value}))


@pytest.mark.parametrize(
    "times",
    [
        {"exp": -10},
        {"exp": -6},
        {"exp": 3601},
        {"exp": 10**9},
        {"exp": 1e300},
        {"nbf": 31},
        {"iat": 31},
        {"iat": -3601},
        {"nbf": "now"},
        {"iat": "now"},
    ],
    ids=str,
)
def test_an_assertion_is_good_in_its_time_only(
    robot: Robot, refused: Callable[..., None], clock: Clock, times: dict[str, Any]
) -> None:
    """RFC 7523 §3, 4-6: MUST reject expired ones and those before nbf, MAY those far in the future or past."""
    now = int(clock())
    refused(robot.sign(**{name: value if isinstance(value, str) else now + value for name, value in times.items()}))


def test_clocks_may_differ_a_little(robot: Robot, clock: Clock) -> None:
    """RFC 7523 §3, 4."""
    now = int(clock())

    assert robot.send(robot.sign(nbf=now + 10, iat=now + 10)).status_code == 200
    assert robot.send(robot.sign(exp=now - 3)).status_code == 200
    assert robot.send(robot.sign(iat=None)).status_code == 200


@both_stores
def test_an_assertion_is_good_once(robot: Robot, refused: Callable[..., None], runtime: Runtime) -> None:
    """RFC 7523 §3, 7; at whatever endpoint, and also where the signature over the same jti is another."""
    first = robot.sign(jti="same")
    assert robot.send(first).status_code == 200
    assert count_rows(runtime.store, "valetkey_assertions") == 1

    refused(first)
    refused(first, path="/oauth/introspect")
    refused(robot.sign(jti="same"))


def test_a_jti_is_the_clients_own(app: Flask, robot: Robot, runtime: Runtime, clock: Clock) -> None:
    """§3, item 7."""
    other = register_client(
        runtime, name="Other", policy="machine", auth_method="private_key_jwt", members={"jwks": JWKS}
    )
    second = Robot(app.test_client(), other.client_id, clock)

    assert robot.send(robot.sign(jti="same")).status_code == 200
    assert second.send(second.sign(jti="same")).status_code == 200


def test_a_wrong_assertion_does_not_use_up_the_jti(robot: Robot, refused: Callable[..., None]) -> None:
    """Nobody can spoil a client's assertions without its key."""
    refused(robot.sign(STRANGER, jti="same"))

    assert robot.send(robot.sign(jti="same")).status_code == 200


def test_used_assertions_are_forgotten_when_they_have_expired(robot: Robot, runtime: Runtime, clock: Clock) -> None:
    """§3, item 7: remembered as long as it could be accepted."""
    from valetkey.outbound.worker import prune

    assert robot.send(robot.sign()).status_code == 200
    prune(runtime.store, clock())
    assert count_rows(runtime.store, "valetkey_assertions") == 1
    clock.forward(seconds=200)
    prune(runtime.store, clock())
    assert count_rows(runtime.store, "valetkey_assertions") == 0


def test_a_strangers_signature_is_refused(robot: Robot, refused: Callable[..., None]) -> None:
    """RFC 7523 §3, 9: the signature MUST be valid."""
    good = robot.sign()
    head, claims, signature = good.split(".")
    other = base64.urlsafe_b64encode(json.dumps(robot.claims(iss="x")).encode()).rstrip(b"=").decode()

    refused(robot.sign(STRANGER))
    refused(f"{head}.{other}.{signature}")
    refused(f"{head}.{claims}.")
    refused(f"{head}.{claims}.AAAA")


def test_none_and_a_secret_made_of_the_public_key_are_no_signatures(robot: Robot, refused: Callable[..., None]) -> None:
    """RFC 8725 §3.1, §3.2."""
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()  # noqa: E731

    for alg in ("none", "None", "NONE", ""):
        refused(f"{part({'alg': alg})}.{part(robot.claims())}.")
    payload = json.dumps(robot.claims()).encode()
    text = f"{part({'alg': 'HS256', 'kid': 'rsa'})}.{part(robot.claims())}"
    tag = hmac.digest(RSA.as_pem(private=False), text.encode(), "sha256")
    refused(f"{text}.{base64.urlsafe_b64encode(tag).rstrip(b'=').decode()}")
    refused(signed({"alg": "RS512", "kid": "rsa"}, payload, RSA))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": STRANGER.as_dict(private=False)},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["MIIB"]},
        {"crit": ["b64"], "b64": True},
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"typ": "at+jwt"},
        {"typ": "logout+jwt"},
        {"typ": ["JWT"]},
        {"kid": "unknown"},
        {"kid": 5},
        {"kid": ["ec"]},
    ],
    ids=lambda header: str(header)[:30],  # the same in each process: a key is new each time
)
def test_a_header_that_misleads_is_refused(robot: Robot, refused: Callable[..., None], header: dict[str, Any]) -> None:
    """RFC 8725 §3.8-§3.11, RFC 7515 §4.1.11; each is signed by the client's own key."""
    refused(by_hand({"alg": "ES256", "kid": "ec", **header}, robot.claims()))


def by_hand(header: dict[str, Any], claims: Any) -> str:
    """A JWS whose signature is right whatever its header says."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()  # noqa: E731
    text = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(EC.private_key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


@pytest.mark.parametrize("typ", ["JWT", "jwt", "client-authentication+jwt"])
def test_the_types_of_an_assertion_are_accepted(robot: Robot, typ: str) -> None:
    """RFC 8725 §3.11."""
    header = {"alg": "ES256", "kid": "ec", "typ": typ}
    assert robot.send(by_hand(header, robot.claims())).status_code == 200


@pytest.mark.parametrize(
    "assertion",
    [
        "x",
        "a.b",
        "a.b.c",
        "..",
        "eyJhbGciOiJFUzI1NiJ9.W10.x",
        "eyJhbGciOiJFUzI1NiJ9.bnVsbA.x",
        "eyJhbGciOiJFUzI1NiJ9." + "A" * 9000 + ".x",
        "W10.e30.x",
        "é.é.é",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJcdWQ4MDAifQ.x",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJcdTAwMDAifQ.x",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOltdfQ.x",
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_assertion_is_refused(refused: Callable[..., None], assertion: str) -> None:
    """§3, §3.2."""
    refused(assertion)


def test_an_assertion_is_of_bounded_size(robot: Robot, refused: Callable[..., None]) -> None:
    """What nobody needs is not judged."""
    assert robot.send(robot.sign(padding="x" * 5000)).status_code == 200
    refused(robot.sign(padding="x" * 7000))


def test_a_client_id_other_than_the_subject_is_refused(robot: Robot, runtime: Runtime) -> None:
    """RFC 7521 §4.2: MUST identify the same client."""
    with assert_store_unchanged(runtime):
        answer = robot.send(robot.sign(), client_id="another")

    assert (answer.status_code, answer.json["error"]) == (400, "invalid_request")


def test_the_two_parameters_belong_together(robot: Robot, refused: Callable[..., None]) -> None:
    """RFC 7521 §4.2."""
    refused(robot.sign(), client_assertion_type=None)
    refused(robot.sign(), client_assertion_type="urn:ietf:params:oauth:client-assertion-type:saml2-bearer")
    assert robot.send("", client_id=robot.client_id).status_code == 401


def test_two_proofs_at_once_are_refused(robot: Robot, runtime: Runtime) -> None:
    """RFC 6749 §2.3."""
    sent = {"grant_type": "client_credentials", "client_assertion_type": TYPE, "client_assertion": robot.sign()}
    with assert_store_unchanged(runtime):
        in_form = robot.http.post("/oauth/token", data={**sent, "client_secret": "x"})
        by_basic = robot.http.post("/oauth/token", data=sent, auth=(robot.client_id, "x"))

    assert (in_form.status_code, by_basic.status_code) == (400, 400)


def test_who_promised_a_signature_does_not_come_in_by_less(robot: Robot, runtime: Runtime) -> None:
    """RFC 7591 §2: the registered method is the one that counts."""
    sent = {"grant_type": "client_credentials"}
    runtime.revoke(clients.add_secret(robot.client_id, Secret("x").digest(), 0))  # from before, say
    with assert_store_unchanged(runtime):
        public = robot.http.post("/oauth/token", data={**sent, "client_id": robot.client_id})
        secret = robot.http.post("/oauth/token", data=sent, auth=(robot.client_id, "x"))

    assert (public.status_code, secret.status_code) == (401, 401)


def test_who_has_a_secret_does_not_come_in_by_an_assertion(app: Flask, runtime: Runtime, clock: Clock) -> None:
    for policy, uris in (("machine", ()), ("browser", (CALLBACK,))):
        made = register_client(runtime, name="Other", policy=policy, redirect_uris=uris, members={"jwks": JWKS})
        other = Robot(app.test_client(), made.client_id, clock)
        assert other.send(other.sign()).status_code == 401


def test_the_algorithm_that_was_registered_is_the_only_one(app: Flask, runtime: Runtime, clock: Clock) -> None:
    """OpenID Connect Dynamic Client Registration §2: MUST be signed with it."""
    members = {"jwks": JWKS, "token_endpoint_auth_signing_alg": "RS256"}
    made = register_client(runtime, name="R", policy="machine", auth_method="private_key_jwt", members=members)
    robot = Robot(app.test_client(), made.client_id, clock)

    assert robot.send(robot.sign()).status_code == 401
    assert robot.send(robot.sign(RSA, "RS256")).status_code == 200


def test_keys_are_read_from_jwks_uri_and_rotate(
    app: Flask, runtime: Runtime, clock: Clock, site: ClientWebsite
) -> None:
    """OpenID Connect Core §10.1.1."""
    url = site.publish("/jwks", {"keys": [EC.as_dict(private=False)]}, Cache_Control="max-age=300")
    made = register_client(
        runtime, name="R", policy="machine", auth_method="private_key_jwt", members={"jwks_uri": url}
    )
    robot = Robot(app.test_client(), made.client_id, clock)

    assert robot.send(robot.sign()).status_code == 200
    assert robot.send(robot.sign()).status_code == 200
    assert site.requested_paths == ["/jwks"], "once"
    site.publish("/jwks", {"keys": [ED.as_dict(private=False)]})
    clock.forward(seconds=61)
    assert robot.send(robot.sign(ED, "EdDSA")).status_code == 200
    assert robot.send(robot.sign()).status_code == 401


def test_a_client_may_sign_with_a_new_key_ten_seconds_after_its_keys_were_read(
    app: Flask, runtime: Runtime, clock: Clock, site: ClientWebsite
) -> None:
    """OpenID Connect Core §10.1.1; and whoever makes up names of keys has them looked for no oftener."""
    url = site.publish("/jwks", {"keys": [EC.as_dict(private=False)]}, Cache_Control="max-age=300")
    made = register_client(
        runtime, name="R", policy="machine", auth_method="private_key_jwt", members={"jwks_uri": url}
    )
    robot = Robot(app.test_client(), made.client_id, clock)
    assert robot.send(robot.sign()).status_code == 200
    site.publish("/jwks", {"keys": [ED.as_dict(private=False)]}, Cache_Control="max-age=300")

    clock.forward(seconds=9)
    assert robot.send(robot.sign(ED, "EdDSA")).status_code == 401
    assert site.requested_paths == ["/jwks"]
    clock.forward(seconds=2)
    assert robot.send(robot.sign(ED, "EdDSA")).status_code == 200
    assert site.requested_paths == ["/jwks", "/jwks"]


def test_a_jwks_uri_that_does_not_answer_is_a_refusal(
    app: Flask, runtime: Runtime, clock: Clock, site: ClientWebsite
) -> None:
    """§3.2."""
    members = {"jwks_uri": site.url("/nothing")}
    made = register_client(runtime, name="R", policy="machine", auth_method="private_key_jwt", members=members)
    robot = Robot(app.test_client(), made.client_id, clock)

    assert robot.send(robot.sign()).status_code == 401


def test_a_client_that_signs_has_no_secret(runtime: Runtime) -> None:
    with pytest.raises(RegistrationRefused, match="jwks"):
        register_client(runtime, name="R", policy="machine", auth_method="private_key_jwt")


def test_a_lost_answer_is_given_again_though_the_proof_is_new(ada: Browser, runtime: Runtime, clock: Clock) -> None:
    """A retry of a refresh is signed anew: it is the same request all the same."""
    made = register_client(
        runtime,
        name="Shop",
        policy="web",
        auth_method="private_key_jwt",
        redirect_uris=[CALLBACK],
        members={"jwks": JWKS},
    )
    robot = Robot(ada.http, made.client_id, clock)
    ada.client = CreatedClient(made.client_id, None)
    first = robot.send(
        robot.sign(),
        grant_type="authorization_code",
        code=ada.obtain_code(),
        code_verifier="v" * 43,
        redirect_uri=CALLBACK,
    ).json
    refresh = lambda: robot.send(  # noqa: E731
        robot.sign(), grant_type="refresh_token", refresh_token=first["refresh_token"]
    )

    answer, again = refresh(), refresh()

    assert (answer.status_code, again.status_code) == (200, 200)
    assert answer.json == again.json


def test_guesses_are_limited_as_those_of_secrets_are(make_app: Any, sqlite_store_url: str, clock: Clock) -> None:
    app = make_app(sqlite_store_url, client_authentication_limit="2/minute burst 2")
    made = register_client(
        app.extensions["valetkey"],
        name="R",
        policy="machine",
        auth_method="private_key_jwt",
        members={"jwks": JWKS},
    )
    robot = Robot(app.test_client(), made.client_id, clock)

    assert [robot.send(robot.sign(STRANGER)).status_code for _ in range(3)] == [401, 401, 429]
