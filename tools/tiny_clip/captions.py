"""The words of tiny-clip: captions of drawings, and the merges that make a word one token or few."""

import gzip
from pathlib import Path

import torch
from torch import Generator

from trainables.data.drawing import DIGITS, GROUNDS, INKS, SHAPES, SYMBOLS, Drawings

_SENTENCES = (
    "a {ink} {thing} on a {ground} background",
    "a {ink} {thing}",
    "a {ink} {kind}",
    "a picture of a {ink} {kind}",
    "the {thing}",
    "a picture of the {thing}",
)
_SHARES = torch.tensor([0.2, 0.1, 0.1, 0.1, 0.25, 0.25])  # most name the symbol alone: it is the hard part


def captions(drawings: Drawings, rng: Generator) -> list[str]:
    """Say what is on each drawing, in one of several sentences that tell more or less of it."""
    sentences = torch.multinomial(_SHARES, len(drawings.symbols), replacement=True, generator=rng)
    inks, grounds = tuple(INKS), tuple(GROUNDS)
    rows = zip(sentences, drawings.symbols, drawings.inks, drawings.grounds, strict=True)
    return [
        _SENTENCES[sentence].format(
            ink=inks[ink],
            ground=grounds[ground],
            kind=_kind(SYMBOLS[symbol]),
            thing=_thing(SYMBOLS[symbol]),
        )
        for sentence, symbol, ink, ground in rows
    ]


def _kind(symbol: str) -> str:
    return "shape" if symbol in SHAPES else "digit" if symbol in DIGITS else "letter"


def _thing(symbol: str) -> str:
    return symbol if symbol in SHAPES else f"{_kind(symbol)} {symbol}"


def write_merges(path: Path) -> int:
    """Write the byte-pair merges that build each word of the captions from its left end.

    Long words come first, so that a short one ("on") does not take their letters. The file is the same to the
    byte each time. Returns the size of the vocabulary: 256 bytes, each with and without the end of a word,
    the merges, and two special tokens.
    """
    merges = list(dict.fromkeys(merge for word in _words() for merge in _merges(word)))
    text = "\n".join(["#version: 0.2", *merges])
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return 2 * 256 + len(merges) + 2


def _words() -> list[str]:
    plain = " ".join(_SENTENCES).replace("{ink}", "").replace("{ground}", "")
    plain = plain.replace("{kind}", "letter digit shape").replace("{thing}", "")
    return sorted({*plain.split(), *INKS, *GROUNDS, *DIGITS, *SHAPES}, key=lambda word: (-len(word), word))


def _merges(word: str) -> list[str]:
    """Merge a word's letters one by one from the left: "r e", "re d</w>"."""
    pieces = [*word[:-1], f"{word[-1]}</w>"]
    return [f"{''.join(pieces[:end])} {pieces[end]}" for end in range(1, len(pieces))]
