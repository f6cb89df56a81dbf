"""The value of the `sv` member: `1<width><depth><ids><check>`, with no separators.

Held against the Rust implementation by the vectors in Selvedge's `docs/formats/sv-vectors.json`.
Every value has one text only; what has another form, or a check that does not hold, is refused.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Optional, Tuple

from .crc32c import crc32c

IDS_MAX = 16
ID_BYTES_MAX = 8
DEPTH_MAX = (1 << 30) - 1

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_VALUES = {digit: value for value, digit in enumerate(_DIGITS)}
_DEPTH_DIGITS_MAX = 6
_CHECK_LENGTH = 4
# Version, width, depth, sixteen ids of eight bytes, check.
_VALUE_MAX = 2 + _DEPTH_DIGITS_MAX + 171 + _CHECK_LENGTH


@dataclass(frozen=True)
class Stack:
    """Where a call stands: `depth` calls below the root, and the beginnings of the newest calls'
    ids, oldest first; the last is its own. Never empty."""

    depth: int
    ids: Tuple[bytes, ...]

    @staticmethod
    def parse(value: str, origin: str) -> Optional[Stack]:
        """Reads a member that came with a `traceparent` of this origin (32 hex digits); None if it
        is damaged, or none."""
        if len(value) > _VALUE_MAX or value[:1] != "1" or not value.isascii():
            return None
        body, check = value[:-_CHECK_LENGTH], value[-_CHECK_LENGTH:]
        if check != _check(body, origin) or body[1:2] not in tuple("12345678"):
            return None
        width = int(body[1])
        depth = _read_depth(body[2:])
        if depth is None:
            return None
        number, digits = depth
        ids = _read_base64(body[2 + digits :])
        if not ids or len(ids) % width or len(ids) // width > IDS_MAX:
            return None
        return Stack(number, tuple(ids[at : at + width] for at in range(0, len(ids), width)))

    def ends_in(self, own: bytes) -> bool:
        """Whether the newest id can be this one (of 8 bytes)."""
        return own.startswith(self.ids[-1])

    def advance(self, own: bytes, ids_max: int, id_bytes: int) -> Stack:
        """The stack of a call made from here: one deeper, the newest ids kept, `own` added. Ids
        wider than `id_bytes` are cut, narrower ones stay as they are."""
        kept = self.ids[len(self.ids) - min(len(self.ids), ids_max - 1) :]
        ids = tuple(id[:id_bytes] for id in (*kept, own))
        return Stack(min(self.depth + 1, DEPTH_MAX), ids)

    def member(self, origin: str) -> str:
        """The value. All ids take the width of the narrowest."""
        width = min(len(id) for id in self.ids)
        ids = b"".join(id[:width] for id in self.ids)
        body = f"1{width}{_write_depth(self.depth)}{_write_base64(ids)}"
        return body + _check(body, origin)


def _check(body: str, origin: str) -> str:
    crc = crc32c((body + origin).encode("ascii"))
    return "".join(_DIGITS[(crc >> shift) & 63] for shift in (18, 12, 6, 0))


def _write_depth(depth: int) -> str:
    """Base64 digits of 5 bits each, least significant first; bit 5 says that another follows."""
    digits = ""
    while True:
        group, depth = depth & 31, depth >> 5
        if not depth:
            return digits + _DIGITS[group]
        digits += _DIGITS[group | 32]


def _read_depth(text: str) -> Optional[Tuple[int, int]]:
    """The depth and how many digits it took; None if they are needless, too many or none."""
    number = 0
    for at, digit in enumerate(text[:_DEPTH_DIGITS_MAX]):
        group = _VALUES.get(digit)
        if group is None:
            return None
        number |= (group & 31) << (5 * at)
        if not group & 32:
            return None if group == 0 and at > 0 else (number, at + 1)
    return None


def _write_base64(ids: bytes) -> str:
    text = binascii.b2a_base64(ids, newline=False).decode("ascii")
    return text.rstrip("=").translate(_URL_SAFE)


def _read_base64(text: str) -> Optional[bytes]:
    if len(text) % 4 == 1 or not all(digit in _VALUES for digit in text):
        return None
    plain = text.translate(_PLAIN) + "=" * (-len(text) % 4)
    ids = binascii.a2b_base64(plain)
    # Unused bits must be zero, so that ids have one text only.
    return ids if _write_base64(ids) == text else None


_URL_SAFE = str.maketrans("+/", "-_")
_PLAIN = str.maketrans("-_", "+/")
