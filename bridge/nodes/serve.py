"""Runs a node: the lock, the doors, the signals. One process has a node open at a time, and it alone opens its doors."""

import asyncio
import contextlib
import gc
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web

import bridge
from bridge import files, logs
from bridge.api.door import Runner
from bridge.clock import SystemClock
from bridge.config import Settings
from bridge.errors import Misconfigured, Unavailable
from bridge.nodes.admit import OPERATOR, Actor
from bridge.nodes.app import KEYSTORE, Node, key_source, same_name, secret
from bridge.nodes.enrol import Check
from bridge.nodes.lock import PID, RUN, SOCKET, locked, reachable
from bridge.storage.keystore import Keystore

log = structlog.get_logger()

COMMAND_SOCKET = "command.sock"
"""By it a command speaks to a node that it has put together itself."""
FIRST_ADMINISTRATOR = "first-administrator"
STOP_SECONDS = 4.0


HANDSHAKE_SECONDS: Final = 10.0


def serve(directory: Path) -> int:
    """Run the node in the foreground until SIGTERM or SIGINT; the exit status.

    The caller holds the node's lock. Raises Misconfigured, within seconds and before anything is served, when the node
    would not be safe as it is.
    """
    os.umask(0o077)
    directory = directory.absolute()
    settings = Settings.load(directory, os.environ)
    logs.set_up(settings.log.level, SystemClock())
    logs.catch_uncaught()
    return asyncio.run(_serve(directory, settings))


async def _serve(directory: Path, settings: Settings) -> int:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()

    def ask_to_stop(number: signal.Signals) -> None:
        if not stop.done():
            stop.set_result(number.name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask_to_stop, number)
    try:
        node = await _reopened(directory, settings)
    except Unavailable as error:
        raise Misconfigured(error.sentence, error.hint, code=error.code) from None
    tune_process()
    try:
        async with working(node):
            log.info("started", node=settings.node.id, version=bridge.__version__, port=settings.listen.port)
            await _ask_for_administrator(node)
            log.info("stopping", signal=await stop)
    finally:
        await node.close()
    return 0


COLLECT_AFTER: Final = 20_000
"""New objects after which the collector looks for cycles among them: some megabytes at most."""


def tune_process() -> None:
    """What a process that runs a node does for speed, once the node is open."""
    # The gazetteer and the code are here to stay: the collector need not walk through them again and again.
    gc.collect()
    gc.freeze()
    # What an alert leaves behind is freed without the collector; looking for cycles so often cost a fifth of the time.
    gc.set_threshold(COLLECT_AFTER)


async def _reopened(directory: Path, settings: Settings) -> Node:
    """Open a node that was made before. Raises Misconfigured also when what it knew is gone.

    In a new database it would know no partner, take alerts a second time and give its descriptors old numbers.
    """
    engine, _, place = settings.database.url.partition(":")
    file = directory / place
    if engine == "sqlite" and (not file.exists() or file.stat().st_size == 0):
        raise Misconfigured(
            "This node's database is missing.", "Restore it from a backup; a new one would not know what was agreed and sent."
        )
    return await Node.open(directory, settings)


async def _ask_for_administrator(node: Node) -> None:
    """While a node has no administrator, each start makes the one link that makes the first.

    It goes to the terminal of whoever starts the node by hand, and into a file for whoever does not; never into the
    log, which others read.
    """
    path = node.directory / RUN / FIRST_ADMINISTRATOR
    path.unlink(missing_ok=True)
    secret = await node.sign_in.first_link()
    if secret is None:
        return
    link = f"{node.settings.node.url.rstrip('/')}/set-up/{secret}"
    files.write(path, f"{link}\n".encode())
    log.warning("no-administrator")
    if sys.stderr.isatty():
        sys.stderr.write(f"This node has no administrator yet. Open this link within 3 days to become the first:\n  {link}\n")
        sys.stderr.flush()


@contextlib.asynccontextmanager
async def working(node: Node) -> AsyncIterator[None]:
    """The open `node` at its doors and at work, until the block ends; whoever opened it closes it then.

    The caller holds the node's lock. Raises Misconfigured when a door cannot be opened.
    """
    run = node.directory / RUN
    runners: list[web.AppRunner] = []
    try:
        runners.append(await listen_local(node, run / SOCKET))
        runners.append(await _listen(node))
        if node.settings.mesh.port:
            runners.append(await _serve_at(node, node.mesh_application(), node.settings.mesh.port, "[mesh]"))
        (run / PID).write_text(f"{os.getpid()}\n")
        await node.start()
        yield
    finally:
        (run / PID).unlink(missing_ok=True)
        for runner in runners:
            await runner.cleanup()
        (run / SOCKET).unlink(missing_ok=True)


async def _listen(node: Node) -> web.AppRunner:
    settings = node.settings
    app = node.application(node.bearer)
    shell = node.shell()
    await shell.warm()
    shell.attach(app)
    return await _serve_at(node, app, settings.listen.port, "[listen]")


class Site(web.BaseSite):
    """A port whose TLS handshakes must end soon: whoever begins one and falls silent is let go. `web.TCPSite` waits 60 s."""

    def __init__(self, runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None, handshake: float = HANDSHAKE_SECONDS) -> None:
        super().__init__(runner, ssl_context=tls, backlog=256)
        self._at = host, port
        self._handshake = handshake

    @property
    def name(self) -> str:
        """Where it listens."""
        scheme = "https" if self._ssl_context else "http"
        return f"{scheme}://{self._at[0]}:{self._at[1]}"

    async def start(self) -> None:
        """Listen. Raises OSError where the port is taken."""
        await super().start()
        if self._runner.server is None:
            raise RuntimeError("the application is set up before its port is opened")
        self._server = await asyncio.get_running_loop().create_server(
            self._runner.server,
            *self._at,
            ssl=self._ssl_context,
            backlog=self._backlog,
            reuse_address=True,
            ssl_handshake_timeout=self._handshake if self._ssl_context else None,
        )


async def _serve_at(node: Node, app: web.Application, port: int, section: str) -> web.AppRunner:
    """The application at a port, protected as `[listen]` says. Raises Misconfigured, naming the section, if it is taken."""
    settings = node.settings
    runner = await _runner(app, settings)
    try:
        await Site(runner, settings.bind_host, port, tls_of(node)).start()
    except OSError as error:
        await runner.cleanup()
        raise Misconfigured(
            f"Port {port} cannot be opened on {settings.bind_host}: {os.strerror(error.errno or 0).lower()}.",
            f"Is another program using it? Set {section} port in node.toml.",
        ) from None
    except BaseException:
        await runner.cleanup()
        raise
    return runner


async def listen_local(node: Node, path: Path) -> web.AppRunner:
    """The operator's socket. The mode of the directory and of the socket is the permission."""

    async def operator(_request: web.Request) -> Actor:
        return OPERATOR

    runner = await _runner(node.application(operator, control=True), node.settings)
    path.unlink(missing_ok=True)
    try:
        with reachable(path) as short:
            await web.UnixSite(runner, short).start()
        path.chmod(0o600)
    except OSError:
        await runner.cleanup()
        raise Misconfigured("The control socket cannot be opened.", "Is the node's directory writable?") from None
    return runner


async def _runner(app: web.Application, settings: Settings) -> web.AppRunner:
    runner = Runner(
        app,
        access_log=None,
        keepalive_timeout=max(15.0, settings.limits.header_seconds),
        max_line_size=8190,
        max_field_size=8190,
        handler_cancellation=False,
        shutdown_timeout=STOP_SECONDS / 2,
    )
    await runner.setup()
    return runner


def tls_of(node: Node) -> ssl.SSLContext | None:
    """TLS 1.3 with our own certificate or the operator's files; None where a proxy does it."""
    settings = node.settings
    if settings.listen.tls == "off":
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if settings.listen.tls == "files":
        try:
            context.load_cert_chain(
                node.directory / settings.listen.cert_file, node.directory / settings.listen.key_file
            )
        except (OSError, ssl.SSLError):
            raise Misconfigured(
                "The TLS certificate or its key cannot be read, or they do not belong together.",
                "Check cert_file and key_file under [listen] in node.toml.",
            ) from None
        return context
    # The library reads keys from files alone: the file holds the key encrypted, for as long as it takes to read it.
    path = node.directory / RUN / "tls.pem"
    path.unlink(missing_ok=True)
    files.write(path, secret(node.keystore, "tls-key") + secret(node.keystore, "tls-certificate"))
    try:
        context.load_cert_chain(path, password=secret(node.keystore, "tls-password"))
    finally:
        path.unlink(missing_ok=True)
    return context


@contextlib.asynccontextmanager
async def offline(directory: Path) -> AsyncIterator[str]:
    """The socket of a node's application without a running node, for commands that need nobody else; under the node's lock.

    Raises Misconfigured when the node cannot be opened or is open elsewhere.
    """
    directory = directory.absolute()
    settings = Settings.load(directory, os.environ)
    before = os.umask(0o077)
    try:
        with locked(directory):
            logs.set_up("error", SystemClock(), stream=sys.stderr)
            node = await _reopened(directory, settings)
            socket = directory / RUN / COMMAND_SOCKET
            try:
                runner = await listen_local(node, socket)
                try:
                    with reachable(socket) as path:
                        yield path
                finally:
                    await runner.cleanup()
                    socket.unlink(missing_ok=True)
            finally:
                await node.close()
    finally:
        os.umask(before)


async def unopened(directory: Path) -> list[Check]:
    """How far a node comes that cannot be opened, step by step; the last step is the one that fails, and says why."""
    steps: list[Check] = []
    step = "settings"
    try:
        settings = Settings.load(directory, os.environ)
        steps.append(Check(step, True, "node.toml is in order"))
        step = "keys"
        source = key_source(directory, settings)
        keystore = await Keystore.open(directory / KEYSTORE, source, clock=SystemClock(), version=bridge.__version__)
        await keystore.close()
        same_name(keystore, settings)
        steps.append(Check(step, True, "the node's key opens its keystore"))
        step = "database"
        await (await _reopened(directory, settings)).close()
        steps.append(Check(step, True, "it can be opened"))
    except (Misconfigured, Unavailable) as error:
        steps.append(Check(step, False, str(error)))
    return steps
