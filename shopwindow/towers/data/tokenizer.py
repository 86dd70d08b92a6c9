"""Train a WordPiece tokeniser on the words of a catalogue."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[MASK]"]


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train a WordPiece tokeniser that ignores case, and the accents of Latin, Greek and Cyrillic letters.

    Each Chinese character is a token of its own. Every character of the texts is in the vocabulary.

    Args:
        texts: titles and queries.
        vocab_size: most tokens. Small catalogues give fewer. Texts of more different characters give more, one each.

    Returns:
        A tokeniser with [PAD] = 0, [UNK] = 1, [MASK] = 2.
    """
    texts = list(texts)
    tokenizer = _tokenizer(models.WordPiece(unk_token="[UNK]"))
    # The trainer numbers the letters inside words in hash order and breaks ties between merges by these numbers. So
    # the same texts would give a different vocabulary each time. Naming the letters up front fixes their order.
    words = {word for text in texts for word in _words(tokenizer, text)}
    inner = sorted({f"##{letter}" for word in words for letter in word[1:]})
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, special_tokens=[*SPECIAL_TOKENS, *inner], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    # In a new tokeniser these letters are ordinary entries of the vocabulary again, not special tokens.
    trained = _tokenizer(models.WordPiece(tokenizer.get_vocab(), unk_token="[UNK]", max_input_chars_per_word=64))
    trained.add_special_tokens(SPECIAL_TOKENS)
    return trained


def _tokenizer(model: models.WordPiece) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.BertNormalizer(lowercase=True, strip_accents=False),
            # BERT would strip marks of every script: が would become か, and words in Hindi would lose their vowels.
            normalizers.NFD(),
            normalizers.Replace(Regex(r"(?<=[\p{Latin}\p{Greek}\p{Cyrillic}])\p{Mn}+"), ""),
            normalizers.NFC(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _words(tokenizer: Tokenizer, text: str) -> list[str]:
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]
