"""Text and bytes with a few mistakes in them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

Text = TypeVar("Text", str, bytes)

ODD_TEXTS = (
    "", " ", "\t", "\n", "\r\n", "\0", "'", '"', "`", "```", "@'", 'h"', "//", "\\", "\\u12", "|",
    ";", ",", ".", "..", "(", ")", "[", "]", "{", "}", "<", ">", "=", "-", "--", "*", "$", "%", "#",
    "\u00a0", "\u2028", "\ufeff", "\u202e", "é", "漢", "\U0001f600", "\x7f", "\x85",
    "0", "-1", "1e308", "1e309", "9" * 40, "0x", "null", "true", "NaN",
    "datetime(2026-02-30)", "1d", "-1tick", "99999999999d", "dynamic([", "\r", "\x01",
)  # fmt: skip
"""What parsers trip over."""

ODD_BYTES = (
    *(text.encode() for text in ODD_TEXTS),
    b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b"\xff\xfe",
    b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"ORC", b"Obj\x01", b"\x80" * 10, b"\xff" * 9,
)  # fmt: skip


def mutated_texts(texts: SearchStrategy[str]) -> SearchStrategy[str]:
    """Those texts, up to four mistakes in each; many have none."""
    return _mutated(texts, ODD_TEXTS, st.text(max_size=4))


def mutated_bytes(payloads: SearchStrategy[bytes]) -> SearchStrategy[bytes]:
    """Those payloads, up to four mistakes in each; many have none."""
    return _mutated(payloads, ODD_BYTES, st.binary(max_size=4))


@st.composite
def _mutated(
    draw: DrawFn, originals: SearchStrategy[Text], odd: Sequence[Text], any_: SearchStrategy[Text]
) -> Text:
    value = draw(originals)
    for _ in range(draw(st.sampled_from((0, 0, 1, 1, 2, 4)))):
        at = draw(st.integers(0, len(value)))
        to = min(len(value), at + draw(st.sampled_from((0, 1, 1, 2, 8, 64))))
        kind = draw(st.sampled_from(("insert", "replace", "delete", "repeat", "cut", "odd")))
        if kind == "insert":
            value = value[:at] + draw(st.sampled_from(odd)) + value[at:]
        elif kind == "replace":
            value = value[:at] + draw(st.sampled_from(odd)) + value[to:]
        elif kind == "delete":
            value = value[:at] + value[to:]
        elif kind == "repeat":
            value = value[:to] + value[at:to] * draw(st.sampled_from((1, 2, 50))) + value[to:]
        elif kind == "cut":
            value = value[:at]
        else:
            value = value[:at] + draw(any_) + value[at:]
    return value


def variants(payload: bytes, seed: int, count: int) -> Iterator[bytes]:
    """The payload, then ``count`` copies with one to three mistakes each; the same for a seed.

    Making an example costs more than decoding it: one that is made serves many times.
    """
    yield payload
    rng = random.Random(seed)
    for _ in range(count):
        value = bytearray(payload)
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(len(value) + 1)
            to = min(len(value), at + rng.choice((0, 1, 1, 2, 8, 64)))
            piece = rng.choice(
                (rng.choice(ODD_BYTES), rng.randbytes(1), bytes(value[at:to]) * 2, b"")
            )
            if rng.random() < 0.3 and at < len(value):
                value[at] ^= 1 << rng.randrange(8)
            else:
                value[at:to] = piece
        yield bytes(value)
