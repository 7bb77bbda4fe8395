"""A picture of boxes, arrows and words as SVG, readable on light and on dark pages, and by a screen reader."""

from __future__ import annotations

from html import escape

#: The colours of each scheme. A picture has its own ground, as a page may be dark where the system is light.
SCHEMES = {
    "light": {"ground": "#ffffff", "ink": "#1b1f24", "dim": "#57606a", "box": "#eef4fb", "edge": "#3d5a80"}
    | {"accent": "#0b5cad", "warm": "#fdf0e1", "alert": "#a3340b"},
    "dark": {"ground": "#15191e", "ink": "#e9edf2", "dim": "#a9b4c0", "box": "#1f2c3b", "edge": "#86a8cf"}
    | {"accent": "#8cc2ff", "warm": "#3a2a18", "alert": "#ffab85"},
}
#: The width of one character, as a share of the size of the font: the widest common sans serif.
WIDTH_OF_CHARACTER = 0.6
SIZE = 14


def style(scheme: str) -> str:
    """The rules of one scheme."""
    c = SCHEMES[scheme]
    return (
        f".ground{{fill:{c['ground']}}}text{{fill:{c['ink']}}}.dim{{fill:{c['dim']}}}.accent{{fill:{c['accent']}}}"
        f".alert{{fill:{c['alert']}}}.box{{fill:{c['box']};stroke:{c['edge']}}}"
        f".warm{{fill:{c['warm']};stroke:{c['edge']}}}.line{{stroke:{c['edge']};fill:none}}"
        f".strong{{stroke:{c['accent']};fill:none}}.broken{{stroke:{c['alert']};fill:none}}"
        f".head{{fill:{c['edge']}}}.head-strong{{fill:{c['accent']}}}.head-broken{{fill:{c['alert']}}}"
    )


STYLE = (
    f"text{{font:{SIZE}px 'DejaVu Sans',Verdana,sans-serif}}"
    ".mono{font-family:'DejaVu Sans Mono',Consolas,monospace}.bold{font-weight:bold}"
    ".box,.warm,.line,.strong,.broken{stroke-width:1.5}.broken{stroke-dasharray:5 4}"
)


class Picture:
    """A picture of a width and height in pixels. ``about`` says in words what it shows."""

    def __init__(self, width: int, height: int, title: str, about: str) -> None:
        self.width, self.height = width, height
        self._head = f"<title>{escape(title)}</title><desc>{escape(about)}</desc>"
        self._parts: list[str] = []

    def text(self, x: float, y: float, words: str, *, anchor: str = "middle", kind: str = "") -> None:
        """Words on one line; x and y are its anchor and its baseline. Raises ValueError if they leave the picture."""
        width = len(words) * SIZE * WIDTH_OF_CHARACTER
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        if left < 0 or left + width > self.width or not SIZE <= y <= self.height:
            raise ValueError(f"{words!r} is outside of the picture: {left:.0f} to {left + width:.0f} at {y}")
        classes = f' class="{kind}"' if kind else ""
        self._parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{classes}>{escape(words)}</text>')

    def box(
        self, x: float, y: float, width: float, height: float, *lines: str, kind: str = "box", mono: str = ""
    ) -> None:
        """A box with lines in its middle; those in ``mono`` are code. Raises ValueError if they do not fit."""
        self._parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4"/>')
        top = y + height / 2 - (len(lines) - 1) * 10 + 5
        for number, line in enumerate(lines):
            if len(line) * SIZE * WIDTH_OF_CHARACTER > width or (len(lines) - 1) * 20 + SIZE > height:
                raise ValueError(f"{line!r} does not fit in a box of {width:g} x {height:g}")
            self.text(x + width / 2, top + number * 20, line, kind="mono" if line in mono.split("|") else "")

    def arrow(self, *points: tuple[float, float], kind: str = "line", words: str = "", above: float = 7) -> None:
        """An arrow along the points; the words stand above its middle."""
        name = {"line": "head", "strong": "head-strong", "broken": "head-broken"}[kind]
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self._parts.append(f'<polyline class="{kind}" points="{path}" marker-end="url(#{name})"/>')
        if words:
            (x1, y1), (x2, y2) = points[0], points[-1]
            self.text((x1 + x2) / 2, (y1 + y2) / 2 - above, words)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str = "line") -> None:
        """A straight line."""
        self._parts.append(f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>')

    def svg(self) -> str:
        """The picture as a file."""
        markers = "".join(
            f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path class="{name}" d="M0,0 L10,5 L0,10 z"/></marker>'
            for name in ("head", "head-strong", "head-broken")
        )
        rules = f"{style('light')}@media (prefers-color-scheme:dark){{{style('dark')}}}{STYLE}"
        parts = "\n".join(self._parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}">\n{self._head}\n<style>{rules}</style>\n'
            f'<defs>{markers}</defs>\n<rect class="ground" width="100%" height="100%" rx="6"/>\n{parts}\n</svg>\n'
        )
