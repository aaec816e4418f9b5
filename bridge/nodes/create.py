"""Makes a new node: settings, keys, keystore, database; whole, or not there at all."""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import bridge
from bridge import files, registry
from bridge.clock import Clock, SystemClock
from bridge.config import FILE_NAME, Settings, render
from bridge.crypto.keys import Fingerprint
from bridge.crypto.tls import make_certificate
from bridge.errors import Misconfigured
from bridge.nodes.app import KEYSTORE, Node, key_source, own_tls_pins, profile_of
from bridge.nodes.lock import RUN
from bridge.nodes.rotate import make_identity_keys, make_message_keys, make_sealing_key
from bridge.storage.keystore import KeyRow, Keystore, make_key_file


class Created(NamedTuple):
    """A node that was just made: its fingerprint, and what its administrator should know."""

    fingerprint: Fingerprint
    warnings: tuple[str, ...]


def create(directory: Path, settings: Settings, passphrase: bytes | None) -> Created:
    """Make a new node in `directory`: settings, keys, keystore, database. All of it or nothing.

    Raises Misconfigured when something is there already or cannot be written.
    """
    directory = directory.absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Misconfigured("There is something in this directory already.", "Give an empty or a new one with --dir.")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
        made.chmod(0o700)  # whatever the caller's umask took away
    except OSError:
        raise Misconfigured("The directory cannot be written.", "Is the disk full, or is it another's? Choose another with --dir.") from None
    before = os.umask(0o077)
    try:
        created = asyncio.run(make(made, settings, passphrase, SystemClock()))
        # If we stop before here, only a hidden directory is left behind; after it, the node is whole.
        made.rename(directory)
    except OSError:
        raise Misconfigured("The directory cannot be written.", "Is the disk full, or is it another's? Choose another with --dir.") from None
    finally:
        os.umask(before)
        shutil.rmtree(made, ignore_errors=True)
    return created


async def make(directory: Path, settings: Settings, passphrase: bytes | None, clock: Clock) -> Created:
    """What :func:`create` puts into the empty `directory` of a new node, as of the time that `clock` shows."""
    (directory / RUN).mkdir(mode=0o700)
    (directory / "exports").mkdir(mode=0o700)
    files.write(directory / FILE_NAME, render(settings).encode())
    if passphrase is None:
        make_key_file(directory / settings.keys.key_file)
    keystore = await Keystore.create(
        directory / KEYSTORE,
        settings.node.id,
        key_source(directory, settings),
        clock=clock,
        version=bridge.__version__,
    )
    try:
        password = os.urandom(32).hex().encode()
        issued = make_certificate(
            [urlsplit(settings.node.url).hostname or "localhost"], clock.now(), 3650, password=password
        )
        now = clock.now()
        await keystore.add_keys(
            KeyRow("tls-certificate", "tls", "pem", issued.certificate, b"", now),
            KeyRow("tls-key", "tls", "pem", issued.key, b"", now),
            KeyRow("tls-password", "tls", "text", password, b"", now),
            KeyRow("cursor", "hmac", "sha-256", os.urandom(32), b"", now),
        )
        pins = await own_tls_pins(keystore, settings)
        profile = profile_of(settings, pins)
        await make_identity_keys(keystore, profile, now, os.urandom)
        await make_message_keys(keystore, profile, now, os.urandom)
        await make_sealing_key(keystore, profile, now, os.urandom)
    finally:
        await keystore.close()
    node = await Node.open(directory, settings, clock=clock)
    try:
        own = node.book.get(node.book.own_id)
        if own is None:
            raise Misconfigured("The node could not publish itself.")
        return Created(registry.fingerprint_of(own.descriptor), settings.warnings())
    finally:
        await node.close()
