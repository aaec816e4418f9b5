"""A picture of the districts as hexagons about where they lie. The table beside it must say everything that it does."""

from collections.abc import Iterable

from markupsafe import Markup, escape

from bridge.areas import hexagons
from bridge.web.look import shown

WIDE, HIGH = 20, 17
"""How far apart hexagons stand in the picture, in a row and from row to row."""

_CORNERS = "l8.7 5v10l-8.7 5-8.7-5v-10z"
"""A hexagon's outline from its upper corner on, with a little room to its neighbours."""


def picture(districts: Iterable[tuple[str, str, str]], said: str) -> Markup:
    """The districts as (code, class of the style `bridge-hex--…`, what is said to whoever points at it).

    The picture is one image for a screen reader, which is told `said`.
    """
    cells = hexagons()
    shapes = []
    for code, kind, title in districts:
        column, line = cells[code]
        x, y = column * WIDE + line % 2 * WIDE // 2 + WIDE // 2, line * HIGH + 1
        shapes.append(f'<path class="bridge-hex--{escape(kind)}" d="M{x} {y}{_CORNERS}"><title>{escape(shown(title))}</title></path>')
    width = (max(column for column, _line in cells.values()) + 2) * WIDE
    height = (max(line for _column, line in cells.values()) + 1) * HIGH + 8
    return Markup(  # noqa: S704  every text in it is escaped above
        f'<svg class="bridge-hexes" role="img" aria-label="{escape(said)}" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}">{"".join(shapes)}</svg>'
    )
