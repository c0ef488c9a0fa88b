"""Text that a terminal or a reader can be shown without being fooled. It does not escape for HTML, JSON or markup.

What models, tools and pages say may hold terminal commands (ANSI, OSC), direction overrides and invisible characters,
which can forge an approval on a screen or hide an instruction in plain sight. `clean` takes them out."""

from __future__ import annotations

import re

# The order matters: sequences with a body go first, whole; then every character that could start one.
_SEQUENCES = re.compile(
    # OSC, DCS, SOS, PM, APC with their content. A body never crosses a line or another introducer, so a missing end
    # costs nothing but the introducer and the search stays linear.
    "(?:\x1b[\\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x80-\x9f\r\n]*(?:\x07|\x1b\\\\|\x9c)"
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, erase
    "|\x1b[ -/]*[0-~]"  # two-character escapes, character sets
)
_INVISIBLE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 without tab and line feed, DEL, C1
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, joiners and fillers that show nothing
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"  # zero width space, direction marks, overrides and isolates
    "\u2800\u3164\ufeff\uffa0\ufff0-\ufffb\ufe00-\ufe0d"  # blanks that look empty, BOM, annotations, selectors
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # format controls, tags (hidden ASCII), selectors
)
"""ZWJ and ZWNJ (needed by Persian, Indic scripts and emoji) and the two emoji selectors stay."""
_DROP = re.compile(f"[{_INVISIBLE}]")
_BREAK = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ODD = re.compile(f"[{_INVISIBLE}\u2028\u2029\ud800-\udfff]")
"""One of these is in whatever the others find: most text has none."""


def clean(text: str, keep: str = "\n\t") -> str:
    """`text` without control sequences, control characters, direction overrides and invisible characters.

    Line breaks of every sort become a line feed; a line feed or tab that is not in `keep` becomes a space. Lone
    surrogates become U+FFFD, so the result can always be encoded."""
    if text.isascii() and text.isprintable():
        return text
    if _ODD.search(text):
        text = _SEQUENCES.sub("", text)
        text = _BREAK.sub("\n", text)
        text = _SURROGATE.sub("\ufffd", _DROP.sub("", text))
    for character in "\n\t":
        if character not in keep:
            text = text.replace(character, " ")
    return text
