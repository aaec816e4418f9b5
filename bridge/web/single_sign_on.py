"""Signing in with the organisation's own account: OpenID Connect, code flow with PKCE. Needs the extra `oidc` (joserfc).

What comes back is believed only when it answers a question that this very browser asked within five minutes, and when
its ID token is signed by the provider's published keys, with one of the algorithms below, for us, with our nonce.
Having an account there gives nobody one here: an administrator invites by the verified e-mail address first.
"""

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
import msgspec
import structlog
from aiohttp import web

from bridge.errors import Misconfigured, Rejected, Unavailable
from bridge.nodes.sign_in import SignIn
from bridge.web.passkeys import Challenges
from bridge.web.shell import Answer, Open, Redirect, Visit, local, page

log = structlog.get_logger()

ALGORITHMS: Final = ["RS256", "PS256", "ES256", "Ed25519", "EdDSA"]
"""Signatures that are believed: never `none`, never one with a shared secret."""

BACK: Final = "/sign-in/organisation/back"
KEEP: Final = timedelta(hours=1)
LEEWAY: Final = timedelta(minutes=2)
_MOST: Final = 262_144

Fetch = Callable[[str, dict[str, str] | None, dict[str, str]], Awaitable[tuple[int, bytes]]]
"""(address, fields to post or None, headers) to (status, body). Raises Unavailable."""


class Provider(msgspec.Struct, frozen=True):
    """What a provider says of itself; what else it says is not read."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class Tokens(msgspec.Struct, frozen=True):
    """The answer for a code."""

    id_token: str


class Proof(msgspec.Struct, frozen=True):
    """What an ID token proves: who, to whom, in answer to what."""

    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    iat: float
    nonce: str = ""
    azp: str = ""
    email: str = ""
    email_verified: bool = False
    acr: str = ""

    def __repr__(self) -> str:
        return "Proof()"


async def fetch(address: str, fields: dict[str, str] | None, headers: dict[str, str]) -> tuple[int, bytes]:
    """One request to the provider: bounded in time and size, never redirected."""
    timeout = aiohttp.ClientTimeout(total=10, connect=5)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(
                "GET" if fields is None else "POST", address, data=fields, headers=headers, allow_redirects=False
            ) as answer,
        ):
            body = await answer.content.read(_MOST)
            return answer.status, body
    except (aiohttp.ClientError, TimeoutError, OSError):
        raise _away() from None


class Organisation:
    """Pages under `/sign-in/organisation`. `secret` is a client secret or, with `signs`, a private key in PEM."""

    def __init__(
        self,
        *,
        sign_in: SignIn,
        issuer: str,
        client_id: str,
        secret: bytes,
        signs: bool,
        url: str,
        now: Callable[[], datetime],
        ask: Fetch = fetch,
        acr: Sequence[str] = (),
        roles: Mapping[str, Sequence[str]] | None = None,
        roles_claim: str = "roles",
    ) -> None:
        try:
            import joserfc  # noqa: F401
        except ImportError:
            raise Misconfigured(
                "sign_in.issuer is set, but what it needs is not installed.", "Install bridge with the extra oidc."
            ) from None
        _safe(issuer)
        self._sign_in = sign_in
        self._issuer = issuer
        self._client = client_id
        self._secret = secret
        self._signs = signs
        self._url = url.rstrip("/")
        self._now = now
        self._ask = ask
        self._acr = tuple(acr)
        self._roles = dict(roles or {})
        self._claim = roles_claim
        self._asked = Challenges(now)
        self._known: tuple[datetime, Provider] | None = None

    @page("GET", "/sign-in/organisation", needs=Open.EVERYBODY, summary="Go to the organisation's sign-in")
    async def go(self, visit: Visit) -> Answer:
        """With a question that only this browser can have answered."""
        provider = await self._provider()
        state, nonce, verifier = (self._sign_in.word() for _each in range(3))
        way = local(visit.query("next", 1000) or "/")
        self._asked.keep(state, (visit.anonymous, nonce, verifier, way))
        visit.cookies["anonymous"] = visit.anonymous
        asked = {
            "response_type": "code",
            "client_id": self._client,
            "redirect_uri": f"{self._url}{BACK}",
            "scope": "openid email",
            "state": state,
            "nonce": nonce,
            "code_challenge": _b64(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        if self._acr:
            asked["acr_values"] = " ".join(self._acr)
        joint = "&" if urlsplit(provider.authorization_endpoint).query else "?"
        address = f"{provider.authorization_endpoint}{joint}{urlencode(asked)}"
        return web.Response(status=303, headers={"Location": address})

    @page("GET", BACK, needs=Open.EVERYBODY, summary="Come back from the organisation's sign-in")
    async def back(self, visit: Visit) -> Answer:
        """Signed in, or told why not."""
        browser, nonce, verifier, way = self._asked.take(visit.query("state", 100))
        if not hmac.compare_digest(str(browser).encode(), visit.anonymous.encode()):
            raise _no()
        code = visit.query("code", 4000)
        if not code:
            raise Rejected(
                "unauthenticated", "Your organisation's sign-in did not let you in.", "Try again, or ask its help desk."
            )
        provider = await self._provider()
        proof, claims = await self._proof(provider, await self._exchange(provider, code, verifier), nonce)
        if self._acr and proof.acr not in self._acr:
            raise Rejected(
                "unauthenticated",
                "You did not sign in strongly enough at your organisation for this service.",
                "Sign in there again with your second factor or smartcard.",
            )
        email = proof.email if proof.email_verified else None
        opened = await self._sign_in.with_subject(self._issuer, proof.sub, email, self._given(claims))
        visit.start_session(opened.secret, self._sign_in.device(opened.account))
        return Redirect(way)

    def _given(self, claims: Mapping[str, Any]) -> list[str] | None:
        """The roles here that the organisation's claim stands for; None where it is not asked."""
        if not self._roles:
            return None
        named = claims.get(self._claim, [])
        named = [named] if isinstance(named, str) else named if isinstance(named, list) else []
        return [role for each in named if isinstance(each, str) for role in self._roles.get(each, ())]

    async def _provider(self) -> Provider:
        now = self._now()
        if self._known is not None and now - self._known[0] < KEEP:
            return self._known[1]
        status, body = await self._ask(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration", None, {})
        if status != 200:
            raise _away()
        provider = _decoded(body, Provider)
        if provider.issuer != self._issuer:
            raise _no()
        for address in (provider.authorization_endpoint, provider.token_endpoint, provider.jwks_uri):
            _safe(address)
        self._known = now, provider
        return provider

    async def _exchange(self, provider: Provider, code: str, verifier: str) -> str:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": f"{self._url}{BACK}",
            "code_verifier": verifier,
            "client_id": self._client,
        }
        headers = {"Accept": "application/json"}
        if self._signs:
            fields |= {
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": self._assertion(provider.token_endpoint),
            }
        else:
            pair = f"{quote(self._client, safe='')}:{quote(self._secret.decode().strip(), safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        status, body = await self._ask(provider.token_endpoint, fields, headers)
        if status >= 500:
            raise _away()
        if status != 200:
            log.warning("single-sign-on-refused", status=str(status))
            raise _no()
        return _decoded(body, Tokens).id_token

    def _assertion(self, audience: str) -> str:
        from joserfc import jwk, jwt
        from joserfc.errors import JoseError

        now = int(self._now().timestamp())
        claims = {
            "iss": self._client, "sub": self._client, "aud": audience, "jti": self._sign_in.word(),
            "iat": now, "exp": now + 60,
        }  # fmt: skip
        pem = self._secret.decode()
        for kind, alg in (("EC", "ES256"), ("RSA", "PS256"), ("OKP", "Ed25519")):
            try:
                key = jwk.import_key(pem, kind)  # type: ignore[call-overload]  # the kinds are its own words
            except (JoseError, ValueError):
                continue
            return jwt.encode({"alg": alg}, claims, key, algorithms=[alg])
        raise Misconfigured("The key of sign_in.key_file cannot be used.", "Give an EC, RSA or Ed25519 key in PEM.")

    async def _proof(self, provider: Provider, token: str, nonce: str) -> tuple[Proof, dict[str, Any]]:
        """The ID token's claims, every one of them checked, and all of them as they came. Raises Rejected `unauthenticated`."""
        from joserfc import jws
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        status, body = await self._ask(provider.jwks_uri, None, {})
        if status != 200:
            raise _away()
        try:
            keys = KeySet.import_key_set(_decoded(body, dict[str, Any]))  # type: ignore[arg-type]  # it checks them itself
            signed = jws.deserialize_compact(token, keys, algorithms=ALGORITHMS)
            proof = msgspec.json.decode(signed.payload, type=Proof)
            claims = msgspec.json.decode(signed.payload, type=dict[str, Any])
        except (JoseError, ValueError, TypeError, KeyError, msgspec.MsgspecError):
            raise _no() from None
        now = self._now().timestamp()
        audience = proof.aud if isinstance(proof.aud, list) else [proof.aud]
        if (
            proof.iss != self._issuer
            or self._client not in audience
            or (len(audience) > 1 and proof.azp != self._client)
            or (proof.azp and proof.azp != self._client)
            or not hmac.compare_digest(proof.nonce.encode(), nonce.encode())
            or not proof.sub
            or proof.exp <= now - LEEWAY.total_seconds()
            or proof.iat > now + LEEWAY.total_seconds()
        ):
            raise _no()
        return proof, claims


T = TypeVar("T")


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise _no() from None


def _safe(address: str) -> None:
    """Raises Misconfigured for an address over which a code could be read on its way."""
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in {"localhost", "127.0.0.1", "::1"}):
        raise Misconfigured("The organisation's sign-in must have https addresses.", "Correct sign_in.issuer.")


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _no() -> Rejected:
    return Rejected(
        "unauthenticated", "The answer of your organisation's sign-in was not accepted.", "Sign in again."
    )


def _away() -> Unavailable:
    return Unavailable(
        "no-single-sign-on", "Your organisation's sign-in does not answer.", "Try again later, or use a passkey or password."
    )
