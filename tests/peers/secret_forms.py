"""A secret in the forms in which it may lie in memory, in a file or on a wire."""

from __future__ import annotations

import base64
from collections.abc import Mapping

LEAST_BYTES = 8
"""Shorter ones are found by chance."""


class Needles:
    """Named secrets to look for: as they are, in hexadecimal, in base64 wherever a group of three begins."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        if short := [name for name, secret in secrets.items() if len(secret) < LEAST_BYTES]:
            raise ValueError(f"too short to mean anything: {', '.join(short)}")
        self._forms = {name: _forms(secret) for name, secret in secrets.items()}

    @property
    def names(self) -> list[str]:
        return list(self._forms)

    @property
    def longest(self) -> int:
        """Length of the longest form."""
        return max(len(form) for forms in self._forms.values() for form in forms)

    def count_in(self, data: bytes) -> dict[str, int]:
        """How often each is in `data`, in whichever form; those that are not there are left out."""
        counts = {name: sum(data.count(form) for form in forms) for name, forms in self._forms.items()}
        return {name: count for name, count in counts.items() if count}


def _forms(secret: bytes) -> tuple[bytes, ...]:
    text = secret.hex()
    forms = [secret, text.encode(), text.upper().encode(), ":".join(_pairs(text)).upper().encode()]
    for shift in range(3):
        # The characters that the bytes before and behind have a part in are left out.
        encoded = base64.b64encode(bytes(shift) + secret)
        begin = (0, 2, 3)[shift]
        whole = (shift + len(secret)) // 3 * 4
        forms += [encoded[begin:whole], base64.urlsafe_b64encode(bytes(shift) + secret)[begin:whole]]
    return tuple(dict.fromkeys(forms))


def _pairs(text: str) -> list[str]:
    return [text[place : place + 2] for place in range(0, len(text), 2)]
