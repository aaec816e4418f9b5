"""`bridge webhook`: which of the area's own systems are told of events, and what became of it."""

import sys
from typing import Any

import click

from bridge.cli import screen
from bridge.cli.client import path_of
from bridge.cli.command import Group, State, pass_state
from bridge.clock import SystemClock


@click.group(cls=Group)
def webhook() -> None:
    """Systems that are told of events, within seconds and signed. See docs/integrate.md."""


@webhook.command(several=("--event",))
@click.option(
    "--url", required=True, metavar="URL", help="Where events are posted to; https, or this machine."
)
@click.option("--label", required=True, metavar="L", help="Which system it is, such as liquidlogic-live.")
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="E",
    help="Only this event, such as alert.received; may be repeated.",
)
@click.option("--full", is_flag=True, help="Send whole alerts, and not only their ids.")
@click.option("--team", metavar="F", help="Only what comes for this function, such as MASH.")
@pass_state
def add(state: State, url: str, label: str, events: tuple[str, ...], full: bool, team: str | None) -> None:
    """Add an endpoint. It is told of what happens from now on; its secret is shown this once and never again."""
    given: dict[str, Any] = {
        "url": url,
        "label": label,
        "events": list(events),
        "content": "full" if full else "thin",
    }
    made = state.node(offline=True).post("/v1/webhooks", json=given | ({"team": team} if team else {}))
    state.show(made, lambda: _secret(made))


@webhook.command("list")
@pass_state
def list_(state: State) -> None:
    """List all endpoints and how they fare. Never their secrets."""
    answer = state.node(offline=True).get("/v1/webhooks")

    def words() -> None:
        if not answer["items"]:
            screen.out("No endpoints yet.")
            screen.out(f"Add one: {state.bridge('webhook add')} --url https://... --label L")
            return
        screen.table(
            ("Id", "For", "To", "State", "Waiting", "Given up", "Reason"),
            [
                tuple(each.get(name) for name in ("id", "label", "url", "state", "waiting", "dead", "reason"))
                for each in answer["items"]
            ],
        )

    state.show(answer, words)


@webhook.command()
@click.argument("hook", metavar="ID")
@click.option("--dead", is_flag=True, help="Only what was given up.")
@pass_state
def log(state: State, hook: str, dead: bool) -> None:
    """Show what was sent to an endpoint or waits for it, newest first."""
    answer = state.node(offline=True).get(
        f"/v1/webhooks{path_of(hook)}/deliveries", state="dead" if dead else None
    )

    def words() -> None:
        if not answer["items"]:
            screen.out("Nothing was given up." if dead else "Nothing was sent yet.")
            return
        now = SystemClock().now()
        screen.table(
            ("Event", "Kind", "State", "Tries", "Last try", "Answer"),
            [
                (
                    each.get("event"),
                    each.get("type"),
                    each.get("state"),
                    each.get("attempts"),
                    screen.ago(each.get("tried"), now),
                    each.get("status") or each.get("code"),
                )
                for each in answer["items"]
            ],
        )

    state.show(answer, words)


@webhook.command()
@click.argument("hook", metavar="ID")
@pass_state
def test(state: State, hook: str) -> None:
    """Send a harmless event now, and say how it ended. Exit status 4 when the endpoint did not take it."""
    tried = state.node().post(f"/v1/webhooks{path_of(hook)}/test")
    said = tried.get("status") or tried.get("code")
    state.show(
        tried,
        lambda: screen.out(f"The endpoint answered {said}." if tried["ok"] else f"It was not taken: {said}."),
    )
    if not tried["ok"]:
        click.get_current_context().exit(4)


@webhook.command()
@click.argument("hook", metavar="ID")
@click.option(
    "--hours",
    type=click.IntRange(0, 720),
    default=24,
    show_default=True,
    help="How long the keys before sign too.",
)
@pass_state
def rotate(state: State, hook: str, hours: int) -> None:
    """Give an endpoint new keys. The new secret is shown this once and never again."""
    made = state.node(offline=True).post(f"/v1/webhooks{path_of(hook)}/rotate", json={"hours": hours})
    state.show(made, lambda: _secret(made))


@webhook.command()
@click.argument("hook", metavar="ID")
@click.argument("events", metavar="[EVENT]...", nargs=-1)
@pass_state
def resend(state: State, hook: str, events: tuple[str, ...]) -> None:
    """Send once more, under the same ids: the events named, or all that was given up."""
    wanted: dict[str, Any] = {"events": list(events)} if events else {"dead": True}
    answer = state.node(offline=True).post(f"/v1/webhooks{path_of(hook)}/resend", json=wanted)
    state.show(answer, lambda: screen.out(f"{answer['count']} events wait to be sent once more."))


@webhook.command()
@click.argument("hook", metavar="ID")
@click.argument("to", type=click.Choice(["on", "off"]))
@pass_state
def switch(state: State, hook: str, to: str) -> None:
    """Switch an endpoint on or off. Switched on, it is told of what happens from then on."""
    answer = state.node(offline=True).patch(f"/v1/webhooks{path_of(hook)}", {"state": to})
    state.show(answer, lambda: screen.out(f"Endpoint {screen.plain(hook)} is {to}."))


@webhook.command()
@click.argument("hook", metavar="ID")
@pass_state
def remove(state: State, hook: str) -> None:
    """Remove an endpoint, with what waits for it, its log and its keys."""
    state.node(offline=True).delete(f"/v1/webhooks{path_of(hook)}")
    state.show(
        {"id": hook, "removed": True}, lambda: screen.out(f"Endpoint {screen.plain(hook)} is removed.")
    )


def _secret(made: dict[str, Any]) -> None:
    screen.note(
        f"Endpoint {screen.text_of(made['endpoint'].get('id'))}. Keep its secret now; it is not shown again:"
    )
    screen.out(str(made["secret"]))
    screen.note(f"Whoever verifies Ed25519 needs no secret, only the public key: {made['public_key']}")
    if sys.stdout.isatty():
        screen.note("Give the secret to the system by a safe way, not by e-mail.")
