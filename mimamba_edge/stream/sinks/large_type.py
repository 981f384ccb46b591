"""Text in letters three or five lines high, for a terminal that is read from across the room."""

from __future__ import annotations

__all__ = ["enlarge"]

_ROWS = 5
# Letters of 3 x 5 dots: a row is an octal digit, its highest bit the dot on the left.
_TABLE = """
A25755 B65656 C34443 D65556 E74647 F74644 G34553 H55755 I72227 J11152 K55655 L44447 M57755 N65555 O25552
P65644 Q25563 R65655 S34216 T72222 U55557 V55552 W55775 X55255 Y55222 Z71247 075557 126227 261247 361216
455711 574616 634757 771244 875757 975716 -00700 _00007 .00002 +02720 /11244 :02020 =07070 (12221 )42224
%51245 !22202 ?61202
"""
_LETTERS = {drawn[0]: drawn[1:] for drawn in _TABLE.split()} | {" ": "00000"}
_HALVES = " ▄▀█"


def enlarge(text: str, width: int, height: int = 5) -> list[str] | None:
    """Return lines that draw a text, capitals for small letters.

    Args:
        text: The text.
        width: Columns there are.
        height: Lines of a letter, 3 or 5; those of 3 are half as wide, too.

    Returns:
        The lines; ``None`` where they do not fit or a character of the text has no large form.
    """
    if not text or not set(text.upper()) <= set(_LETTERS):
        return None
    rows = ["0".join(f"{int(_LETTERS[c][row], 8):03b}" for c in text.upper()) for row in range(_ROWS)]
    n = len(rows[0])
    if height == 5:
        drawn = ["".join("██" if dot == "1" else "  " for dot in row) for row in rows]
        return drawn if 2 * n <= width else None
    pairs = zip(rows[::2], [*rows[1::2], "0" * n], strict=True)
    halves = ["".join(_HALVES[2 * int(a) + int(b)] for a, b in zip(*pair, strict=True)) for pair in pairs]
    return halves if n <= width else None
