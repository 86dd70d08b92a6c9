"""`python -m shopwindow_loadtests.word_splitting` compares ways to split words, and the way in use is a good one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shopwindow_loadtests.word_splitting import main


def test_the_way_in_use_is_better_than_none_for_plurals_and_than_pairs_for_chinese(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--shop", str(shop)])
    tables = capsys.readouterr().out.split(" queries ")[1:]
    figures = [
        {way: float(ndcg) for way, ndcg in re.findall(r"^\| (.+?) \| (0\.\d{4}) \|", table, re.MULTILINE)}
        for table in tables
    ]
    assert [table.split("\n")[0] for table in tables] == [
        "without Chinese, 900 products",
        "in Chinese, 900 products",
        "in Chinese, titles in Chinese, 173 products",
    ]
    english, whole, chinese = figures
    assert english["as it is"] > english["plurals as they are"] + 0.02
    for table in (whole, chinese):
        assert table["as it is"] > max(table["pairs, in titles also characters"], table["pairs alone"])
