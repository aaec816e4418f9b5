"""At rest: what is under a key opens with that key in its own place, and with nothing else, and dies with it."""

import datetime as dt
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.crypto import vault
from bridge.crypto.vault import BucketKey, NodeKey
from bridge.errors import Misconfigured, Rejected

DAY = dt.date(2026, 11, 22)
NEXT = dt.date(2026, 11, 23)
SALT = b"s" * 16


def node_key():
    return NodeKey.from_key_file(secrets.token_bytes(32))


def bucket(day=DAY):
    return BucketKey.generate(day, secrets.token_bytes)


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def gone(call, *args):
    with pytest.raises(Rejected) as refused:
        call(*args)
    assert refused.value.code == "gone"


# The node key.


def test_the_same_passphrase_and_salt_give_the_same_key_and_others_do_not():
    blob = NodeKey.from_passphrase(b"correct horse", SALT).wrap("seed", b"secret")
    assert NodeKey.from_passphrase(b"correct horse", SALT).unwrap("seed", blob) == b"secret"
    for passphrase, salt in ((b"correct horsE", SALT), (b"correct horse", b"t" * 16)):
        with pytest.raises(Misconfigured, match="passphrase or key file"):
            NodeKey.from_passphrase(passphrase, salt).unwrap("seed", blob)


@pytest.mark.parametrize(
    ("passphrase", "salt"), [(b"", SALT), (b"correct horse", b"s" * 15)], ids=["empty", "salt"]
)
def test_an_empty_passphrase_or_a_short_salt_does_not_start(passphrase, salt):
    with pytest.raises(Misconfigured):
        NodeKey.from_passphrase(passphrase, salt)


KEY = bytes(range(32))


@pytest.mark.parametrize(
    "content",
    [KEY, KEY.hex().encode(), KEY.hex().upper().encode() + b"\n", KEY.hex().encode() + b"\r\n"],
    ids=["raw", "hex", "upper case with a line end", "another line end"],
)
def test_a_key_file_is_read_raw_or_in_hex(content):
    blob = NodeKey(KEY).wrap("seed", b"secret")
    assert NodeKey.from_key_file(content).unwrap("seed", blob) == b"secret"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        KEY[:31],
        KEY + b"\n",
        KEY.hex()[:-2].encode(),
        b"z" * 64,
        b"\xff" * 64,
        bytes(32),
        b"0" * 64,
        b"k" * 32,
    ],
    ids=[
        "empty",
        "short",
        "raw with a line end",
        "hex short",
        "not hex",
        "not text",
        "zero",
        "hex zero",
        "one letter",
    ],
)
def test_a_file_that_holds_no_key_does_not_start(content):
    with pytest.raises(Misconfigured, match="does not hold a key"):
        NodeKey.from_key_file(content)


@given(st.text(max_size=20), st.binary(max_size=100))
def test_what_is_wrapped_unwraps_under_its_purpose(purpose, secret):
    key = NodeKey(KEY)
    blob = key.wrap(purpose, secret)
    assert key.unwrap(purpose, blob) == secret
    with pytest.raises(Misconfigured):
        key.unwrap(purpose + "x", blob)


def test_a_wrapped_secret_altered_in_any_byte_or_cut_anywhere_does_not_unwrap():
    key = node_key()
    blob = key.wrap("seed", b"secret")
    for at in range(len(blob)):
        for bad in (flipped(blob, at), blob[:at]):
            with pytest.raises(Misconfigured):
                key.unwrap("seed", bad)


def test_wrapping_twice_gives_nothing_in_common():
    key = node_key()
    one, two = (key.wrap("seed", b"secret" * 8) for _ in range(2))
    assert one[1:13] != two[1:13]
    assert one[13:] != two[13:]


# Keys of days and of alerts.


def test_a_days_key_is_kept_wrapped_and_comes_back_for_its_day_alone():
    node, key = node_key(), bucket()
    data, wrapped = key.new_data_key("alert-1", secrets.token_bytes)
    kept = key.wrapped(node)
    again = BucketKey.unwrapped(DAY, kept, node)
    assert again.unwrap("alert-1", wrapped).open("body", data.seal("body", b"text")) == b"text"
    with pytest.raises(Misconfigured):
        BucketKey.unwrapped(NEXT, kept, node)
    with pytest.raises(Misconfigured):
        BucketKey.unwrapped(DAY, kept, node_key())


def test_a_day_is_a_date_and_a_key_is_32_bytes():
    with pytest.raises(TypeError, match="without a time"):
        bucket(dt.datetime(2026, 11, 22, tzinfo=dt.UTC))
    with pytest.raises(ValueError, match="32 bytes"):
        BucketKey(DAY, bytes(16))
    with pytest.raises(ValueError, match="32 bytes"):
        bucket().new_data_key("alert-1", lambda _: bytes(16))


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.binary(max_size=400))
def test_any_content_comes_back_under_its_alert_and_label(alert_id, label, content):
    key = bucket()
    data, wrapped = key.new_data_key(alert_id, secrets.token_bytes)
    assert key.unwrap(alert_id, wrapped).open(label, data.seal(label, content)) == content


def test_content_opens_in_no_other_place():
    key, other = bucket(), bucket()
    one, wrapped_one = key.new_data_key("alert-1", secrets.token_bytes)
    two, wrapped_two = key.new_data_key("alert-2", secrets.token_bytes)
    blob = one.seal("body", b"text")
    gone(one.open, "note", blob)  # another label
    gone(two.open, "body", blob)  # another alert
    gone(key.unwrap, "alert-2", wrapped_one)  # another alert's row
    gone(other.unwrap, "alert-1", wrapped_one)  # another key of the same day
    gone(BucketKey(NEXT, key._key).unwrap, "alert-1", wrapped_one)  # the same key under another day
    assert wrapped_one != wrapped_two


def test_the_same_data_key_under_another_alert_or_day_opens_nothing():
    raw = secrets.token_bytes(32)
    blob = vault.DataKey("alert-1", DAY, raw).seal("body", b"text")
    gone(vault.DataKey("alert-2", DAY, raw).open, "body", blob)
    gone(vault.DataKey("alert-1", NEXT, raw).open, "body", blob)


def test_content_altered_in_any_byte_or_cut_anywhere_does_not_open():
    data, wrapped = (key := bucket()).new_data_key("alert-1", secrets.token_bytes)
    blob = data.seal("body", b"text")
    for at in range(len(blob)):
        gone(data.open, "body", flipped(blob, at))
        gone(data.open, "body", blob[:at])
    for at in range(len(wrapped)):
        gone(key.unwrap, "alert-1", flipped(wrapped, at))


def test_a_salt_is_the_same_each_time_and_differs_by_message_and_alert():
    key = bucket()
    data, wrapped = key.new_data_key("alert-1", secrets.token_bytes)
    other, _ = key.new_data_key("alert-2", secrets.token_bytes)
    assert data.salt(b"m" * 16) == key.unwrap("alert-1", wrapped).salt(b"m" * 16)
    assert len({data.salt(b"m" * 16), data.salt(b"n" * 16), other.salt(b"m" * 16)}) == 3
    assert len(data.salt(b"")) == 32


def test_a_destroyed_day_takes_its_content_and_salts_with_it():
    key = bucket()
    data, wrapped = key.new_data_key("alert-1", secrets.token_bytes)
    blob = data.seal("body", b"text")
    key.destroy()
    gone(key.unwrap, "alert-1", wrapped)
    gone(key.new_data_key, "alert-2", secrets.token_bytes)
    gone(key.wrapped, node_key())
    data.destroy()
    gone(data.open, "body", blob)
    gone(data.seal, "body", b"text")
    gone(data.salt, b"m" * 16)


def test_an_alert_moved_to_another_days_key_stays_readable_when_the_first_day_dies():
    first, held = bucket(), bucket(NEXT)
    data, wrapped = first.new_data_key("alert-1", secrets.token_bytes)
    blob, salt = data.seal("body", b"text"), data.salt(b"m" * 16)
    moved = first.rewrap("alert-1", wrapped, held)
    first.destroy()
    kept = held.unwrap("alert-1", moved)
    assert kept.open("body", blob) == b"text"
    assert kept.salt(b"m" * 16) == salt
    gone(held.unwrap, "alert-1", wrapped)


def test_no_key_shows_itself():
    key = bucket()
    data, _ = key.new_data_key("alert-1", secrets.token_bytes)
    assert (repr(node_key()), repr(key), repr(data)) == (
        "NodeKey()",
        "BucketKey(2026-11-22)",
        "DataKey(alert-1)",
    )


# Search.


def test_a_search_tag_finds_the_same_text_under_the_same_key_alone():
    key, other = secrets.token_bytes(32), secrets.token_bytes(32)
    tag = vault.search_tag(key, "phone:+447700900123")
    assert tag == vault.search_tag(key, "phone:+447700900123")
    assert len({tag, vault.search_tag(other, "phone:+447700900123"), vault.search_tag(key, "phone:")}) == 3
    assert len(tag) == 16


def test_a_short_search_key_is_refused():
    with pytest.raises(ValueError, match="32 bytes"):
        vault.search_tag(bytes(31), "text")
