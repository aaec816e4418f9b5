"""Pictures of the real pages, for docs/screenshots: three nodes that know each other, invented people, one day.

Every page is taken at the width of a desk and of an old phone. A picture is written anew only when it looks different, and
with few colours, so that it stays small. Needs Chromium; without one it says what to install.
"""

import argparse
import asyncio
import base64
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests" / "web")]

from chromium import INSTALL, Watched, chromium, window  # noqa: E402  after the path is set
from house import ESSEX, House, Quarry, Someone  # noqa: E402  as above
from street import ALERT, Street, built  # noqa: E402  as above

from bridge.nodes.app import Node  # noqa: E402  as above

OUT = ROOT / "docs" / "screenshots"
WIDTHS = {"": 1280, "-phone": 320}
OTHERS = {"inbox", "received", "close", "administration", "partner-approve", "areas", "connections"}
"""Pictures of the desk's and the administrators' pages, which need nothing that a worker has done before."""

STORY = {
    **ALERT,
    "name": "“Ricochet”",
    "age": "18_24",
    "description": "Tall, grey tracksuit, silver tooth, two phones",
    "happened": "Waited by the lifts and offered three young claimants £200 each to carry parcels to the coast. Said he "
    "is from Croydon and that nobody knows him here. Heard by two work coaches.",
    "part": ["suspected_exploiter", "gang_member"],
}

# Few greys and few colours: the edges of letters are made of many, and without them a picture has a sixth of its size.
SMALL = """async (data) => {
  const image = new Image(); image.src = 'data:image/png;base64,' + data; await image.decode()
  const w = image.width, h = image.height
  const canvas = Object.assign(document.createElement('canvas'), {width: w, height: h})
  const pen = canvas.getContext('2d'); pen.drawImage(image, 0, 0)
  const from = pen.getImageData(0, 0, w, h).data
  const counts = new Map(), keys = new Uint32Array(w * h)
  for (let i = 0; i < w * h; i++) {
    const [r, g, b] = from.subarray(i * 4, i * 4 + 3), grey = Math.max(r, g, b) - Math.min(r, g, b) < 12
    const part = (one) => grey ? Math.round(one / 51) * 3 : Math.round(one / 34) * 2 > 15 ? 15 : Math.round(one / 34) * 2
    const key = part(r) << 8 | part(g) << 4 | part(b)
    keys[i] = key; counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  const palette = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 48).map(([key]) => key)
  const far = (a, b) => Math.abs((a >> 8) - (b >> 8)) + Math.abs((a >> 4 & 15) - (b >> 4 & 15)) + Math.abs((a & 15) - (b & 15))
  const place = new Map()
  for (const key of counts.keys()) {
    let best = 0
    for (let i = 1; i < palette.length; i++) if (far(palette[i], key) < far(palette[best], key)) best = i
    place.set(key, best)
  }
  const rows = new Uint8Array(h * (w + 1))
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) rows[y * (w + 1) + 1 + x] = place.get(keys[y * w + x])
  const packed = new Uint8Array(await new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream('deflate'))).arrayBuffer())
  const table = Uint32Array.from({length: 256}, (_, n) => { for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ n >>> 1 : n >>> 1; return n >>> 0 })
  const crc = (bytes) => { let c = 0xffffffff; for (const each of bytes) c = table[(c ^ each) & 255] ^ c >>> 8; return (c ^ 0xffffffff) >>> 0 }
  const chunk = (name, bytes) => {
    const made = new Uint8Array(bytes.length + 12), view = new DataView(made.buffer)
    view.setUint32(0, bytes.length); made.set(new TextEncoder().encode(name), 4); made.set(bytes, 8)
    view.setUint32(bytes.length + 8, crc(made.subarray(4, bytes.length + 8)))
    return made
  }
  const head = new Uint8Array(13), view = new DataView(head.buffer)
  view.setUint32(0, w); view.setUint32(4, h); head.set([8, 3, 0, 0, 0], 8)
  const colours = new Uint8Array(palette.flatMap((key) => [(key >> 8) * 17, (key >> 4 & 15) * 17, (key & 15) * 17]))
  const file = [Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10), chunk('IHDR', head), chunk('PLTE', colours), chunk('IDAT', packed), chunk('IEND', new Uint8Array())]
  const bytes = new Uint8Array(await new Blob(file).arrayBuffer())
  let text = ''; for (const each of bytes) text += String.fromCharCode(each)
  return btoa(text)
}"""


class Camera:
    """Takes the pictures that are wanted: all of them, or those named."""

    def __init__(self, browser: Any, wanted: set[str], studio: Any) -> None:
        self._browser = browser
        self._wanted = wanted
        self._studio = studio
        self.taken: list[str] = []

    async def of(self, house: House, who: Someone) -> Watched:
        """Somebody's window."""
        cookie = f"bridge-{house.node.settings.node.id}"
        return await window(self._browser, house.base, {cookie: who.cookie(cookie) or ""})

    async def take(self, seen: Watched, name: str, path: str = "", *, whole: bool = True) -> None:
        """The page that is open, or the one at `path`, at every width; or only what of it is seen at once."""
        if path:
            await seen.go(path)
        if self._wanted and name not in self._wanted:
            return
        for suffix, width in WIDTHS.items():
            await seen.page.set_viewport_size({"width": width, "height": 700})
            raw = await seen.page.screenshot(full_page=whole, animations="disabled", caret="hide")
            small = base64.b64decode(await self._studio.evaluate(SMALL, base64.b64encode(raw).decode()))
            (OUT / f"{name}{suffix}.png").write_bytes(small)
            self.taken.append(f"{name}{suffix}.png")
        await seen.page.set_viewport_size({"width": 1280, "height": 700})


async def until(who: Someone, ref: str, words: str) -> None:
    """Wait until the page of a sent alert says these words."""
    for _turn in range(200):
        if words in (await who.get(f"/sent/{ref}")).words:
            return
        await asyncio.sleep(0.05)
    raise SystemExit(f"{ref} never said: {words}")


async def worker_pages(camera: Camera, street: Street) -> str:
    """Every page of a worker: empty, with mistakes, and full. The reference of the alert that went well."""
    worker = await street.jobcentre.someone("sender", name="Wendy Worker")
    seen = await camera.of(street.jobcentre, worker)
    page = seen.page
    await camera.take(seen, "sent-none", "/sent")
    await camera.take(seen, "decisions-none", "/send/decisions")
    await camera.take(seen, "send", "/send")
    await seen.click("Continue")
    await camera.take(seen, "send-mistakes")
    await worker.get("/send")
    await worker.post("/send", {**STORY, "area": "Newcastle", "danger": "yes"})
    await camera.take(seen, "stop", "/send/stop")
    await worker.post("/send/stop", {"did": "safe"})
    await camera.take(seen, "area", "/send/area")
    await seen.click("Continue")
    await camera.take(seen, "area-mistakes")
    await worker.get("/send")
    await worker.post("/send", STORY)
    await camera.take(seen, "send-filled", "/send")
    async with page.expect_response("**/send/draft"):  # what is kept while typing is there before the next step
        await page.focus("#area")
        await page.fill("#area", "newcastle")
        await page.get_by_role("option").first.wait_for()
    await page.evaluate("document.getElementById('area').scrollIntoView({block: 'start'})")
    await camera.take(seen, "send-areas", whole=False)
    await worker.get("/send")
    await worker.post("/send", STORY)
    await camera.take(seen, "check", "/send/check")
    await seen.click("Send alert")
    await page.wait_for_url("**/sent/BR-*")
    ref = page.url.rpartition("/")[2]
    await until(worker, ref, "Croydon safeguarding hub: Delivered")
    await until(worker, ref, "Kent and London police desk: Delivered")
    await camera.take(seen, "alert-sent", f"/sent/{ref}")
    await street.hub.node.acknowledge.open(ref, "person:desk")
    await street.hub.node.acknowledge.take(ref, "person:desk")
    await street.hub.node.ask.ask(ref, "Does he use another name? We may know him.", "person:desk")
    await street.police.node.acknowledge.open(ref, "person:desk")
    await street.police.node.acknowledge.close(ref, "intelligence_logged", "person:desk")
    await until(worker, ref, "Logged as intelligence")
    await until(worker, ref, "asks")
    street.clock.move(minutes=12)
    await camera.take(seen, "alert-asked", f"/sent/{ref}")
    other = await street.sent(worker, **{**STORY, "area": "Croydon"})
    await until(worker, other, "Croydon safeguarding hub: Delivered")
    await street.hub.node.acknowledge.not_ours(other, "E08000021", "person:desk")
    await until(worker, other, "They suggest")
    await camera.take(seen, "alert-needs-you", f"/sent/{other}")
    await camera.take(seen, "send-on", f"/sent/{other}/send-on")
    await camera.take(seen, "withdraw", f"/sent/{other}/withdraw")
    third = await street.sent(worker, seen="carrying_or_running")
    await until(worker, third, "Croydon safeguarding hub: Delivered")
    await camera.take(seen, "sent", "/sent")
    await camera.take(seen, "decide-not-to-send", "/send/not")
    await page.check("input[value=no_agreement_in_place]")
    await seen.click("Record my decision")
    await camera.take(seen, "decided")
    await camera.take(seen, "decisions", "/send/decisions")
    return ref


async def desk_pages(camera: Camera, street: Street) -> None:
    """What the home area's desk sees: its list, one alert, closing it."""
    worker = await street.jobcentre.someone("sender", name="Will Worker")
    ref = await street.sent(worker, **STORY)
    await until(worker, ref, "Croydon safeguarding hub: Delivered")
    street.clock.move(minutes=25)
    lead = await street.hub.someone("receiver-lead", name="Dee Desk")
    seen = await camera.of(street.hub, lead)
    await camera.take(seen, "inbox", "/inbox")
    await camera.take(seen, "received", f"/inbox/{ref}")
    await seen.click("Take this alert")
    await camera.take(seen, "close", f"/inbox/{ref}/close")


async def administrator_pages(camera: Camera, street: Street, invitation: bytes) -> None:
    """What an administrator sees: how the node is, a partner to be approved, areas, systems."""
    hub = street.hub
    ada = await hub.someone("administrator", name="Ada Administrator")
    await hub.someone("administrator", name="Bo Administrator")
    await hub.node.enrol.add(invitation, f"person:{ada.id}")
    await hub.node.admit.create("Case system", ["alerts:read", "alerts:act"], 365, f"person:{ada.id}")
    seen = await camera.of(hub, ada)
    await camera.take(seen, "administration", "/admin")
    await camera.take(seen, "partner-approve", "/admin/partners/essex-police/approve")
    await camera.take(seen, "areas", "/admin/areas?show=served")
    await camera.take(seen, "connections", "/admin/tokens")


async def invitation_of(quarry: Quarry, to: Path) -> bytes:
    """The invitation of a node that nobody on the street knows."""
    await quarry.copy(ESSEX, to)
    node = await Node.open(to, ESSEX)
    try:
        return node.enrol.invite()
    finally:
        await node.close()


async def taken(wanted: set[str]) -> list[str]:
    """Take the pictures; their names."""
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bridge-screenshots-") as directory:
        ground = Path(directory)
        for name in ("quarry", "street"):
            (ground / name).mkdir()
        quarry = Quarry(ground / "quarry")
        invitation = await invitation_of(quarry, ground / "essex")
        async with built(ground / "street", quarry) as street, chromium() as browser:
            camera = Camera(browser, wanted, await browser.new_page())
            if not wanted or not wanted <= OTHERS:
                await worker_pages(camera, street)
            await desk_pages(camera, street)
            await administrator_pages(camera, street, invitation)
            return camera.taken


def main() -> None:
    """Take them all, or those named on the command line."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="these alone, by name without ending")
    wanted = set(parser.parse_args().names)
    if not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        raise SystemExit(f"There is no browser here. As root: {INSTALL}")
    names = asyncio.run(taken(wanted))
    size = sum((OUT / name).stat().st_size for name in names)
    print(f"{len(names)} pictures in {OUT.relative_to(ROOT)}, {size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
