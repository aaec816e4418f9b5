"""Passwords and six digits, with the right one and every near miss."""

import datetime as dt
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.crypto import passwords
from bridge.errors import Rejected

PHC = passwords.hash_password("correct horse", secrets.token_bytes)
# RFC 6238 appendix B, SHA-1, secret "12345678901234567890": the last six of its eight digits.
SECRET = b"12345678901234567890"
RFC_6238 = [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924")]


def at(seconds):
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def test_the_right_password_is_taken_and_others_are_not():
    assert passwords.verify_password("correct horse", PHC)
    for wrong in ("", "correct horsE", "correct horse ", "x" * 2000):
        assert not passwords.verify_password(wrong, PHC)


def test_the_hash_says_how_it_was_made_and_with_which_salt():
    phc = passwords.hash_password("a", lambda n: bytes(range(n)))
    assert phc.startswith("$argon2id$v=19$m=65536,t=3,p=4$AAECAwQFBgcICQoLDA0ODw$")
    assert not passwords.needs_new_hash(phc)
    assert passwords.needs_new_hash(phc.replace("t=3", "t=2"))


def test_a_password_fits_however_its_letters_are_composed():
    phc = passwords.hash_password("caf\u00e9", secrets.token_bytes)
    assert passwords.verify_password("cafe\u0301", phc)


@pytest.mark.parametrize(
    "phc",
    ["", "plain", "$argon2i$v=19$m=64,t=3,p=4$AAAAAAAAAAA$AAAA", PHC[:-1], PHC + "A"],
    ids=["empty", "plain", "argon2i", "cut", "longer"],  # the salt is random, and ids must not be
)
def test_what_is_no_hash_of_ours_takes_no_password(phc):
    assert not passwords.verify_password("correct horse", phc)


def test_a_password_too_long_to_be_typed_is_refused():
    with pytest.raises(Rejected) as refused:
        passwords.hash_password("x" * 1025, secrets.token_bytes)
    assert refused.value.code == "too-large"


@pytest.mark.parametrize(("seconds", "code"), RFC_6238)
def test_codes_are_those_of_rfc_6238(seconds, code):
    assert passwords.verify_totp(SECRET, code, at(seconds)) == seconds // 30
    assert passwords.verify_totp(SECRET, f" {code[:3]} {code[3:]} ", at(seconds)) == seconds // 30


@pytest.mark.parametrize(("late", "taken"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_code_is_good_one_step_early_or_late(late, taken):
    assert (passwords.verify_totp(SECRET, "005924", at(1234567890 + late)) is not None) == taken


def test_a_code_is_good_once():
    step = passwords.verify_totp(SECRET, "005924", at(1234567890))
    assert step is not None
    assert passwords.verify_totp(SECRET, "005924", at(1234567890), last_step=step) is None
    assert passwords.verify_totp(SECRET, "005924", at(1234567890 + 20), last_step=step) is None
    assert passwords.verify_totp(SECRET, "005924", at(1234567890), last_step=step - 1) == step


@pytest.mark.parametrize("code", ["", "00592", "0059240", "00592x", "\u0660" * 6, "-05924", "005925"])
def test_what_is_not_the_code_is_not_taken(code):
    assert passwords.verify_totp(SECRET, code, at(1234567890)) is None


@given(st.text(max_size=12))
def test_any_text_is_judged_without_an_error(text):
    assert passwords.verify_totp(SECRET, text, at(0)) in {None, 0, -1, 1}


def test_a_new_secret_goes_into_an_address_that_apps_read():
    secret = passwords.new_totp_secret(secrets.token_bytes)
    assert len(secret) == 20
    uri = passwords.totp_uri(SECRET, "duty@example.gov.uk", "Kent MASH")
    assert uri.startswith("otpauth://totp/Kent%20MASH:duty%40example.gov.uk?")
    assert "secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" in uri
    assert "period=30" in uri
