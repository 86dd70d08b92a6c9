"""The cache of what was used last: its bound, and threads that share it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from shopwindow.base.recently_used import RecentlyUsed


def test_the_value_used_longest_ago_leaves_first_and_the_newest_stays_whatever_its_size() -> None:
    made: list[str] = []

    def get(text: str) -> None:
        assert cache.get(text, lambda: made.append(text) or text) == text  # type: ignore[func-returns-value]

    cache: RecentlyUsed[str, str] = RecentlyUsed(3, len)
    for text in ("a", "bb", "a", "c", "a", "c"):  # c needs room, and a was used after bb
        get(text)
    assert made == ["a", "bb", "c"]
    get("long text")
    assert len(cache) == 1
    get("long text")
    get("a")
    assert made == ["a", "bb", "c", "long text", "a"]
    assert len(cache) == 1


def test_threads_get_the_value_of_their_key() -> None:
    cache: RecentlyUsed[int, bytes] = RecentlyUsed(40, len)

    def use(start: int) -> None:
        for number in range(start, start + 3_000):
            key = number * 7 % 11
            assert cache.get(key, lambda key=key: bytes([key]) * (key + 1)) == bytes([key]) * (key + 1)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(4)))
    assert 1 < len(cache) < 11
