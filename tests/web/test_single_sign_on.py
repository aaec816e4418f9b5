"""Signing in with the organisation's account, against a provider of our own with real keys at a real address."""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from aiohttp import web
from house import KENT, House, Quarry, Someone, opened
from joserfc import jwk, jws, jwt

from bridge.config import SignIn
from bridge.web.shell import routes_of

CLIENT = "bridge-kent"
SECRET = "between the two of us"  # noqa: S105  of a provider that ends with the test


@dataclass
class Mock:
    """A provider that signs in whoever it is told to, and does to the ID token what a test asks for."""

    issuer: str = ""
    now: float = 0
    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "rae-1", "email": "Rae@kent.example", "email_verified": True})
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "ES256", "kid": "one"})
    key: Any = field(default_factory=lambda: jwk.ECKey.generate_key("P-256", parameters={"kid": "one"}))
    signer: Any = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    unsigned: bool = False

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self.says)
        app.router.add_get("/keys", self.keys)
        app.router.add_post("/token", self.token)
        return app

    async def says(self, _request: web.Request) -> web.Response:
        ends = {f"{name}_endpoint": f"{self.issuer}/{name}" for name in ("authorization", "token")}
        return web.json_response({"issuer": self.issuer, **ends, "jwks_uri": f"{self.issuer}/keys"})

    async def keys(self, _request: web.Request) -> web.Response:
        return web.json_response({"keys": [self.key.as_dict(private=False)]})

    def authorise(self, address: str) -> str:
        """What the provider's page does once somebody has signed in there: the address to go back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert (asked["response_type"], asked["client_id"], asked["code_challenge_method"]) == ("code", CLIENT, "S256")
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        back = urlsplit(asked["redirect_uri"])
        return f"{back.path}?code={code}&state={asked['state']}"

    async def token(self, request: web.Request) -> web.Response:
        sent = await request.post()
        asked = self.codes.pop(str(sent["code"]), None)
        pair = base64.b64encode(f"{CLIENT}:{SECRET.replace(' ', '%20')}".encode()).decode()
        proof = hashlib.sha256(str(sent["code_verifier"]).encode()).digest()
        if (
            asked is None
            or request.headers.get("Authorization") != f"Basic {pair}"
            or base64.urlsafe_b64encode(proof).decode().rstrip("=") != asked["code_challenge"]
            or sent["redirect_uri"] != asked["redirect_uri"]
        ):
            self.refused.append("token")
            return web.json_response({"error": "invalid_grant"}, status=400)
        claims = {
            "iss": self.issuer, "aud": CLIENT, "iat": self.now, "exp": self.now + 300, "nonce": asked["nonce"], **self.claims,
        }  # fmt: skip
        if self.unsigned:
            parts = [base64.urlsafe_b64encode(msgspec.json.encode(p)).decode().rstrip("=") for p in ({"alg": "none"}, claims)]
            return web.json_response({"id_token": f"{parts[0]}.{parts[1]}."})
        key = self.signer or self.key
        text = jws.serialize_compact(self.header, msgspec.json.encode(claims), key, algorithms=[self.header["alg"]])
        return web.json_response({"id_token": text})


@pytest.fixture
async def mock() -> AsyncIterator[Mock]:
    made = Mock()
    runner = web.AppRunner(made.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.issuer = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@asynccontextmanager
async def node_with(mock: Mock, quarry: Quarry, at: Path, **more: Any) -> AsyncIterator[House]:
    said = SignIn(organisation="Kent County Council", issuer=mock.issuer, client_id=CLIENT, secret_file="oidc", **more)  # noqa: S106  the name of a file
    settings = msgspec.structs.replace(KENT, sign_in=said)
    await quarry.copy(KENT, at)
    (at / "oidc").write_text(SECRET)
    (at / "oidc").chmod(0o400)
    async with opened(at, settings, host="localhost") as house:
        mock.now = house.clock.now().timestamp()
        yield house


async def arrive(house: House, mock: Mock, someone: Someone, way: str = "/account") -> Any:
    gone = await someone._ask("GET", f"/sign-in/organisation?next={way}", follow=False)
    assert gone.status == 303
    return await someone.get(mock.authorise(gone.headers["Location"]))


async def test_whoever_was_invited_comes_in_and_is_known_by_subject_from_then_on(
    mock: Mock, quarry: Quarry, tmp_path: Path
) -> None:
    async with node_with(mock, quarry, tmp_path / "kent") as house:
        await house.node.sign_in.invite("Rae Reader", "rae@kent.example", ["receiver"], [], "operator")
        rae = house.stranger()
        assert "Sign in with Kent County Council" in (await rae.get("/sign-in")).words
        pages = {each for each in routes_of(house.node.shell().pages) if "/sign-in/organisation" in each[1]}
        assert pages == {("GET", "/sign-in/organisation", "everybody"), ("GET", "/sign-in/organisation/back", "everybody")}
        assert (await arrive(house, mock, rae)).url == "/account"
        mock.claims = {"sub": "rae-1", "email": "changed@kent.example", "email_verified": True}
        assert (await arrive(house, mock, house.stranger())).url == "/account"
        assert (await house.node.sign_in.find("rae@kent.example")).organisation


async def test_a_work_account_alone_opens_nothing(mock: Mock, quarry: Quarry, tmp_path: Path) -> None:
    async with node_with(mock, quarry, tmp_path / "kent") as house:
        seen = await arrive(house, mock, house.stranger())
        assert (seen.status, "you have no account here" in seen.words) == (401, True)
        await house.node.sign_in.invite("Rae Reader", "rae@kent.example", ["receiver"], [], "operator")
        mock.claims["email_verified"] = False
        assert (await arrive(house, mock, house.stranger())).status == 401


LIES: dict[str, dict[str, Any]] = {
    "for somebody else": {"claims": {"aud": "another-client"}},
    "for us and others, by nobody": {"claims": {"aud": [CLIENT, "another"]}},
    "from another issuer": {"claims": {"iss": "https://evil.example"}},
    "over": {"claims": {"exp": 1}},
    "from the future": {"claims": {"iat": 9_999_999_999}},
    "an older answer": {"claims": {"nonce": "of another time"}},
    "without a nonce": {"claims": {"nonce": ""}},
    "of nobody": {"claims": {"sub": ""}},
    "signed by another key": {"signer": jwk.ECKey.generate_key("P-256")},
    "signed with a shared secret": {"header": {"alg": "HS256"}, "signer": jwk.OctKey.import_key(SECRET * 2)},
    "not signed": {"unsigned": True},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_an_id_token_that_is_not_right_in_every_part_opens_nothing(
    mock: Mock, quarry: Quarry, tmp_path: Path, lie: dict[str, Any]
) -> None:
    async with node_with(mock, quarry, tmp_path / "kent") as house:
        await house.node.sign_in.invite("Rae Reader", "rae@kent.example", ["receiver"], [], "operator")
        for name, value in lie.items():
            setattr(mock, name, {**getattr(mock, name), **value} if name == "claims" else value)
        rae = house.stranger()
        assert (await arrive(house, mock, rae)).status == 401
        assert (await rae.get("/account")).url.startswith("/sign-in")


async def test_an_answer_belongs_to_the_browser_that_asked_and_is_good_once(
    mock: Mock, quarry: Quarry, tmp_path: Path
) -> None:
    async with node_with(mock, quarry, tmp_path / "kent") as house:
        await house.node.sign_in.invite("Rae Reader", "rae@kent.example", ["receiver"], [], "operator")
        rae, eve = house.stranger(), house.stranger()
        gone = await rae._ask("GET", "/sign-in/organisation", follow=False)
        back = mock.authorise(gone.headers["Location"])
        await eve.get("/sign-in")
        assert (await eve.get(back)).status == 401
        assert (await rae.get(back)).status == 401  # it was used up
        gone = await rae._ask("GET", "/sign-in/organisation", follow=False)
        back = mock.authorise(gone.headers["Location"])
        house.clock.move(minutes=5)
        assert (await rae.get(back)).status == 401


async def test_a_private_key_proves_the_node_to_its_provider() -> None:
    from bridge.web.single_sign_on import Organisation

    for key, alg in ((jwk.ECKey.generate_key("P-256"), "ES256"), (jwk.RSAKey.generate_key(2048), "PS256")):
        from house import Watch

        class Word:
            def word(self) -> str:
                return "once"

        made = Organisation(
            sign_in=Word(), issuer="https://idp.example", client_id=CLIENT, secret=key.as_pem(private=True),  # type: ignore[arg-type]
            signs=True, url="https://kent.example", now=Watch().now,
        )  # fmt: skip
        told = jwt.decode(made._assertion("https://idp.example/token"), key, algorithms=[alg])
        assert (told.claims["iss"], told.claims["sub"], told.claims["aud"]) == (CLIENT, CLIENT, "https://idp.example/token")


async def test_how_strongly_somebody_signed_in_there_is_asked_and_checked(mock: Mock, quarry: Quarry, tmp_path: Path) -> None:
    async with node_with(mock, quarry, tmp_path / "kent", acr=("urn:strong", "urn:card")) as house:
        await house.node.sign_in.invite("Rae Receiver", "rae@kent.example", ["receiver"], [], "operator")
        someone = house.stranger()
        for weak in ({}, {"acr": "urn:weak"}, {"acr": "URN:STRONG"}):
            mock.claims = {"sub": "rae-1", "email": "Rae@kent.example", "email_verified": True, **weak}
            assert "not sign in strongly enough" in (await arrive(house, mock, someone)).words
        mock.claims["acr"] = "urn:card"
        assert (await arrive(house, mock, someone)).url == "/account"
        gone = await someone._ask("GET", "/sign-in/organisation", follow=False)
        assert "acr_values=urn%3Astrong+urn%3Acard" in gone.headers["Location"]


async def test_roles_come_with_the_claim_each_time_but_nobody_is_made_an_administrator(
    mock: Mock, quarry: Quarry, tmp_path: Path
) -> None:
    given = {"Duty desk": ("receiver",), "Leads": ("receiver", "receiver-lead")}
    async with node_with(mock, quarry, tmp_path / "kent", roles=given, roles_claim="groups") as house:
        sign_in = house.node.sign_in
        person, _secret = await sign_in.invite("Rae Receiver", "rae@kent.example", ["sender"], ["MASH"], "operator")
        for groups in ([], ["Others"], "administrator", [{"x": 1}], None):
            mock.claims["groups"] = groups
            assert "has not given you a role" in (await arrive(house, mock, house.stranger())).words
        assert (await sign_in.person(person.id)).state == "invited"
        for groups, roles in ((["Duty desk"], {"receiver"}), (["Leads", "Others"], {"receiver", "receiver-lead"}), ("Duty desk", {"receiver"})):
            mock.claims["groups"] = groups
            assert (await arrive(house, mock, house.stranger())).url == "/account"
            found = await sign_in.person(person.id)
            assert (set(found.roles), found.teams) == (roles, ("MASH",))
        await sign_in.change_roles(person.id, ["administrator"], [], "operator")
        assert (await arrive(house, mock, house.stranger())).url == "/account"
        assert set((await sign_in.person(person.id)).roles) == {"administrator", "receiver"}
