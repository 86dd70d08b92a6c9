"""Different ways to write the same words become one text, and plain ASCII stays as it is."""

from __future__ import annotations

import unicodedata
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopwindow.retrieval.embedding.content_hash import content_hash
from shopwindow.retrieval.embedding.folding import fold

SAME = [
    ("ＲＥＤ ＭＵＧ", "RED MUG"),
    ("ﬂoral oﬃce", "floral office"),
    ("cafe\u0301", "caf\u00e9"),
    ("𝐫𝐞𝐝 ①⑫ Ⅷ ㎝", "red 112 VIII cm"),
    ("ﾄﾞﾗｲﾔｰ", "ドライヤー"),
    ("t\u2011shirt t\u2010shirt t\u2013shirt t\u2212shirt t－shirt", "t-shirt t-shirt t-shirt t-shirt t-shirt"),
    ("mug\u2014large", "mug - large"),
    ("children’s ‘mug’ ＇ o´clock", "children's 'mug' ' o'clock"),
    ("“mug” 12″", '"mug" 12"'),
    ("red\u00a0mug", "red mug"),
    ("red\u3000\u2009mug\u2028large", "red mug large"),
    ("red\0mug\tlarge\x85", "red mug large"),
    ("1½ inch, ¾", "1 1/2 inch, 3/4"),
    ("Nike™ Air®", "Nike Air"),
    ("❤\ufe0f mug", "❤ mug"),
]
HTML = [
    ("mug &amp; cup", "mug & cup"),
    ("T&amp;J&#39;s &#x41; &quot;mug&quot;", 'T&J\'s A "mug"'),
    ("red&nbsp;mug&#8203;s", "red mugs"),
    ("mug &amp;amp; cup &amp;#38;lt;3", "mug & cup <3"),
    ("<b>red</b>dish <i class='x' id=y>mug</i>", "reddish mug"),
    ("red<br/>mug<BR>large<br />", "red mug large"),
    ("<ul><li>red</li><li>mug</li></ul><!-- a note -->", "red mug"),
    ("&lt;p&gt;red mug&lt;/p&gt;", "red mug"),
    ("m<sup>2</sup>", "m2"),
]
PLAIN = [
    "size < 5 > 3",
    "I <3 mugs",
    "a <b and c> d",
    "x<y and y>z",
    "AT&T  mug, pens&notes",
    "&c. R&D; pens&notes;",
    "<red> mug <7>",
    "  two  spaces ",
]
INVISIBLE = (
    "\u00ad\u034f\u061c\u180b\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\u3164\ufe00\ufe0f"
    "\ufeff\U000e0020\U000e0101"
)


@pytest.mark.parametrize(("text", "plain"), SAME + HTML)
def test_what_reads_the_same_becomes_the_same_text(text: str, plain: str) -> None:
    assert fold(text) == fold(plain) == plain


@pytest.mark.parametrize("text", PLAIN)
def test_what_only_resembles_html_stays_as_it_is(text: str) -> None:
    assert fold(text) == text
    assert fold(f"{text.strip()} é") == f"{' '.join(text.split())} é"


@given(st.text(st.sampled_from([chr(code) for code in range(32, 127) if chr(code) not in "&<"])))
def test_plain_ascii_stays_as_it_is(text: str) -> None:
    assert fold(text) == text


@given(st.lists(st.sampled_from(INVISIBLE), min_size=1, max_size=4), st.integers(0, 10))
def test_invisible_characters_change_nothing_wherever_they_stand(invisible: list[str], at: int) -> None:
    assert fold("floral mug"[:at] + "".join(invisible) + "floral mug"[at:]) == "floral mug"


@given(st.text(st.characters(categories=("L", "M", "N")), max_size=20))
def test_composed_and_decomposed_letters_are_the_same(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == fold(text)


@given(st.text(st.characters(categories=("Lu", "Ll", "Nd")), max_size=20))
def test_letters_and_digits_become_those_of_nfkc(text: str) -> None:
    expected = unicodedata.normalize("NFKC", text).replace("ʼ", "'")  # ŉ is ʼn in NFKC
    assert fold(text) == " ".join(expected.split())


def test_a_product_is_embedded_again_only_if_its_folded_title_changed() -> None:
    plain = blake2b(b"Children's mug\0photo", digest_size=8).digest()
    assert content_hash("Children's mug", b"photo") == int.from_bytes(plain, "little")
    assert content_hash("Children’s&nbsp;mug", b"photo") == content_hash("Children's mug", b"photo")
    assert content_hash("Children's mugs", b"photo") != content_hash("Children's mug", b"photo")
