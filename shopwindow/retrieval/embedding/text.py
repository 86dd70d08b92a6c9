"""Check query and title texts, and turn them into token ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from shopwindow.retrieval.embedding.folding import fold
from shopwindow.retrieval.errors import InvalidRequest, show

MAX_CHARACTERS = 1_000


def clean_text(field: str, raw: bytes | str) -> str:
    """Decode, fold and strip one text. A text of only spaces, invisible characters and HTML tags becomes empty.

    Raises:
        InvalidRequest: not UTF-8, or longer than MAX_CHARACTERS.
    """
    try:
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
        text.encode("utf-8")  # a str may hold half a surrogate pair, which tokenisers refuse
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise InvalidRequest(field, f"must be UTF-8; position {error.start} of {show(error.object)} is not") from None
    if len(text) > MAX_CHARACTERS:
        raise InvalidRequest(field, f"at most {MAX_CHARACTERS} characters, got {len(text)}")
    text = fold(text)
    return text.strip() if any(c.isprintable() and not c.isspace() for c in text) else ""


def clean_queries(raw: Sequence[bytes | str]) -> list[str]:
    """Check the queries of one request.

    Raises:
        InvalidRequest: as `clean_text`, or a query is empty; the field names the row (`query[3]`).
    """
    queries = [clean_text(f"query[{row}]", text) for row, text in enumerate(raw)]
    for row, query in enumerate(queries):
        if not query:
            raise InvalidRequest(f"query[{row}]", "must not be empty")
    return queries


class TextEncoder:
    """Turns texts into token ids.

    Args:
        tokenizer: it is copied, not changed. Padding is the token that its padding section names, else `[PAD]`.
        max_tokens: longer texts are cut here.

    Attributes:
        vocabulary: token ids are below this number.

    Raises:
        ValueError: the tokeniser has no padding section and no [PAD] token.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        padding = self._tokenizer.padding
        pad_id = padding["pad_id"] if padding else self._tokenizer.token_to_id("[PAD]")
        if pad_id is None:
            raise ValueError("tokenizer: has no [PAD] token")
        self.pad_id: int = pad_id
        self.max_tokens = max_tokens
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self.vocabulary = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())
        # The tokeniser looks for these in the raw text, before it normalises it.
        added = [re.escape(token.content) for token in self._tokenizer.get_added_tokens_decoder().values()]
        self._added = re.compile("|".join(added)) if added else None

    @classmethod
    def read(cls, file: Path, max_tokens: int) -> TextEncoder:
        """Read a tokenizer.json."""
        return cls(Tokenizer.from_file(str(file)), max_tokens)

    def key(self, text: str) -> bytes:
        """Return a key of a text. Texts with the same key get the same tokens.

        For example, `Red Dress` and `red dress` have one key if the tokeniser ignores case.
        """
        normalizer = self._tokenizer.normalizer
        if normalizer is None or (self._added and self._added.search(text)):
            return text.encode()
        normalised: str = normalizer.normalize_str(text)
        return b"\0" + normalised.encode()

    def encode(self, texts: Sequence[str], *, pad_to: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Tokenise.

        Args:
            texts: at least one. An empty text gives only padding, after the special tokens that the tokeniser adds.
            pad_to: width of the result; None pads to the longest text (at least 1).

        Returns:
            ids and mask, both (batch, tokens) int32; mask is 1 at real tokens.
        """
        encoded = [e.ids for e in self._tokenizer.encode_batch_fast(list(texts))]
        width = pad_to or max(1, max(map(len, encoded)))
        ids = np.full((len(encoded), width), self.pad_id, dtype=np.int32)
        mask = np.zeros((len(encoded), width), dtype=np.int32)
        for row, tokens in enumerate(encoded):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return ids, mask

    def check(self, ids: np.ndarray, mask: np.ndarray, *, ids_field: str, mask_field: str) -> None:
        """Check tokens that a caller made, as `encode` would make them.

        Args:
            ids: (batch, tokens) int32.
            mask: (batch, tokens) int32.
            ids_field: name of the ids for errors.
            mask_field: name of the mask for errors.

        Raises:
            InvalidRequest: the shapes differ, there are no tokens or more than `max_tokens`, an id is not in the
                vocabulary, or a mask is neither 0 nor 1; names field, limit and value.
        """
        if ids.shape != mask.shape:
            raise InvalidRequest(mask_field, f"must have the shape of {ids_field}, {ids.shape}, got {mask.shape}")
        if not 1 <= ids.shape[1] <= self.max_tokens:
            raise InvalidRequest(ids_field, f"must have 1 to {self.max_tokens} tokens a row, got {ids.shape[1]}")
        check_values(ids_field, ids, (ids >= 0) & (ids < self.vocabulary), f"from 0 to {self.vocabulary - 1}")
        check_values(mask_field, mask, (mask == 0) | (mask == 1), "0 or 1")


def check_values(field: str, values: np.ndarray, fits: np.ndarray, limit: str) -> None:
    """Check the numbers of a tensor.

    Args:
        field: its name for errors.
        values: (batch, ...) numbers.
        fits: for each number whether it is within the limit.
        limit: the limit in words.

    Raises:
        InvalidRequest: a number is not; names its row and the number.
    """
    if not fits.all():
        place = tuple(np.argwhere(~fits)[0])
        raise InvalidRequest(f"{field}[{place[0]}]", f"must hold numbers {limit}, got {values[place]}")
