"""Cut a page out of a ranking: score limit, order by a column, one product per value, diversity, offset."""

from __future__ import annotations

import numpy as np

from shopwindow.retrieval.page.diversity import OVER, diverse_order
from shopwindow.retrieval.page.sorting import sort_order
from shopwindow.retrieval.request.page.page_request import PageRequest
from shopwindow.retrieval.search.ranking import Places, Ranking


def page_of(ranking: Ranking) -> Places:
    """Return the products of the page that a request asks for, at most `top_k`."""
    parameters = ranking.parameters
    page = parameters.page or PageRequest()
    skipped = page.offset or 0
    end = skipped + parameters.top_k
    places = _sorted(ranking, page) if page.sort is not None else _ranked(ranking, page, end)
    if page.diversity is not None:
        first = places[:OVER]
        order = diverse_order(first.scores, ranking.index.vectors[first.rows], page.diversity)
        places = first[order].then(places[OVER:])
    return places[skipped:end]


def _ranked(ranking: Ranking, page: PageRequest, end: int) -> Places:
    wanted = max(end, OVER) if page.diversity is not None else end
    if page.collapse is None:
        return ranking.good(wanted)
    groups = ranking.index.groups.numbers(page.collapse.by)
    count = wanted
    while True:
        places = ranking.good(count)
        heads = places[first_of_each(groups[places.rows])]
        if len(heads) >= wanted or len(places) < count:
            return heads
        count = len(places) + 1


def _sorted(ranking: Ranking, page: PageRequest) -> Places:
    assert page.sort is not None
    among = page.sort.among  # None only if there is a `min_score`, as `check_sort` has checked
    places = ranking.all_good() if among is None else ranking.good(among)[:among]
    order = sort_order(page.sort, ranking.index.columns, places.rows, places.scores)
    places = places[order]
    if page.collapse is not None:
        places = places[first_of_each(ranking.index.groups.numbers(page.collapse.by)[places.rows])]
    return places


def first_of_each(groups: np.ndarray) -> np.ndarray:
    """Return the places at which a group comes first, int64 in rising order."""
    return np.sort(np.unique(groups, return_index=True)[1])
