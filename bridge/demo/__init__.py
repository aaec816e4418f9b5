"""`bridge demo`: real nodes on this machine play the scenarios, and each must end as it says."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from bridge import areas
from bridge.demo import scenarios, show
from bridge.demo.hosts import Forked, first, fork
from bridge.demo.play import Playing, played
from bridge.demo.processes import Child, forked
from bridge.demo.stage import Progress, processes_for, raised
from bridge.web import look

_STOPS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_demo(keep: bool, as_json: bool, console: Console, directory: Path | None = None) -> int:
    """Play every scenario of `directory` (the project's own when None); the exit status.

    0 when each ended as it says, else 1; 128 and its number when a signal ended it before that. Nothing stays behind,
    whatever ends it. With `keep` the nodes are left running until a signal comes. Raises Misconfigured and Unavailable
    when the scenarios cannot be read or the nodes not be started.
    """
    script = scenarios.load(directory or scenarios.shipped())
    # Whatever every process needs is made before they part, so that it is made once.
    areas.shipped()
    look.Templates().warm()
    hosts = [fork() for _ in range(processes_for(script))]
    try:
        return asyncio.run(_stoppable(keep, as_json, console, script, hosts))
    except ExceptionGroup as group:
        raise first(group) from None


async def _stoppable(
    keep: bool, as_json: bool, console: Console, script: scenarios.Script, hosts: Sequence[Forked]
) -> int:
    loop = asyncio.get_running_loop()
    work = loop.create_task(_demo(keep, as_json, console, script, [forked(host) for host in hosts]))
    came: list[int] = []

    def stop(number: int) -> None:
        # Once is enough: a second Ctrl-C must not keep the first from clearing everything away.
        if not came:
            came.append(number)
            work.cancel()

    for number in _STOPS:
        loop.add_signal_handler(number, stop, number)
    try:
        return await work
    except asyncio.CancelledError:
        if not as_json:
            console.print("Stopped before the end. Nothing is left behind.")
        return 128 + came[0] if came else 1


async def _demo(
    keep: bool, as_json: bool, console: Console, script: scenarios.Script, hosts: Sequence[Child]
) -> int:
    started = time.monotonic()
    screen = show.Screen(console, silent=as_json)
    progress = Progress(len(script.actors))
    people = show.people_of(script) if keep else {}
    async with contextlib.AsyncExitStack() as up:
        with screen.getting_ready(progress):
            stage = await up.enter_async_context(raised(script, hosts, progress, screen.tell, people))
        screen.ready(stage)
        playing = [Playing(scenario) for scenario in script.scenarios]
        with screen.following(playing):
            ended = await played(script, stage, playing, screen.tell)
        seconds = time.monotonic() - started
        screen.report(ended, stage, seconds)
        access = show.accesses(ended, stage) if keep else None
        if as_json:
            sys.stdout.write(
                json.dumps(show.document(ended, stage, seconds, access), ensure_ascii=False) + "\n"
            )
            sys.stdout.flush()
        status = 0 if all(each.ok for each in ended) else 1
        if access is not None:
            screen.kept(access)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                screen.tell("Ending the nodes and deleting everything")
        return status
