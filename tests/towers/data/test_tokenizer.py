"""The trained tokeniser is reproducible and has the tokens that the encoders rely on."""

from __future__ import annotations

from tokenizers import Tokenizer

from shopwindow.towers.data.tokenizer import train_tokenizer

TITLES = ["Red ceramic mug", "Blaue Lampe, größe 38", "green chair", "red lamp", "mugs", "chairs & lamps", "红色"]


def test_training_twice_gives_the_same_tokeniser() -> None:
    for vocab_size in (30, 200):  # with and without room for every merge
        first = train_tokenizer(TITLES, vocab_size).to_str()
        assert all(train_tokenizer(iter(TITLES), vocab_size).to_str() == first for _ in range(5))


def test_special_tokens_come_first_and_case_and_accents_do_not_matter() -> None:
    tokenizer = train_tokenizer(TITLES, 200)
    assert [tokenizer.token_to_id(token) for token in ("[PAD]", "[UNK]", "[MASK]")] == [0, 1, 2]
    assert tokenizer.encode("RED Größe").ids == tokenizer.encode("red große").ids
    assert tokenizer.encode("mug").tokens == ["mug"]
    assert tokenizer.encode("☃").tokens == ["[UNK]"]


def test_chinese_characters_are_tokens_and_marks_of_other_scripts_stay() -> None:
    tokenizer = train_tokenizer([*TITLES, "Nordvale女士红色连衣裙", "が か", "की का", "옷 모자"], 60)
    assert tokenizer.encode("红色连衣裙").tokens == list("红色连衣裙")
    assert tokenizer.encode("が").ids != tokenizer.encode("か").ids
    assert tokenizer.encode("की").ids != tokenizer.encode("का").ids
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 500)))
    tokens = train_tokenizer([many], 60).encode(many).tokens
    assert tokens == list(many), "a vocabulary is larger than its size rather than without a character"


def test_no_word_of_the_catalogue_is_unknown() -> None:
    tokenizer = train_tokenizer(TITLES, 200)
    assert all("[UNK]" not in tokenizer.encode(title).tokens for title in TITLES)
    assert tokenizer.decode(tokenizer.encode("mugs lamp").ids) == "mugs lamp"


def test_a_word_piece_marker_in_a_text_is_read_as_text() -> None:
    tokenizer = train_tokenizer([*TITLES, "a # b"], 200)
    assert "##u" not in tokenizer.encode("##u").tokens


def test_the_vocabulary_has_at_most_its_size_and_can_be_saved() -> None:
    tokenizer = train_tokenizer(TITLES, 60)
    assert tokenizer.get_vocab_size() <= 60
    assert sorted(tokenizer.get_vocab().values()) == list(range(tokenizer.get_vocab_size()))
    again = Tokenizer.from_str(tokenizer.to_str())
    assert [again.encode(title).ids for title in TITLES] == [tokenizer.encode(title).ids for title in TITLES]
