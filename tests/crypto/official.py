"""Where the official vectors are, and the bytes in them."""

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent.parent / "vectors" / "official"


def load(name: str) -> Any:
    return json.loads((_FOLDER / f"{name}.json").read_bytes())
