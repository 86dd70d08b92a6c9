"""Groups of duplicates against brute force in plain Python, in catalogues with planted duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.retrieval.duplicates import groups as duplicates
from shopwindow.retrieval.duplicates.connected_rows import ConnectedRows
from shopwindow.retrieval.duplicates.groups import Groups, find_duplicates, find_groups, supplier_codes
from shopwindow.retrieval.duplicates.labelled_pairs import LabelledPairs, compare_pairs, read_pairs
from shopwindow.retrieval.engines.row_mask import RowMask
from shopwindow.retrieval.index.folder import IndexFolder
from tests.retrieval.index_parts import make_index

DIM = 16
BLOCKS = [(3, 5), (1_024, 4_096)]  # so small that many blocks are compared, and the real size


def catalogue(rows: int, seed: int, *, planted: float = 0.3, dim: int = DIM) -> np.ndarray:
    """Return random unit vectors. A share of them repeats others, exactly or with noise."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for row in np.flatnonzero(rng.random(rows) < planted):
        noise = rng.normal(size=dim) * rng.choice([0, 0.02, 0.07, 0.15])
        vectors[row] = vectors[rng.integers(rows)] + noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def by_hand(vectors: np.ndarray, suppliers: Sequence[int], threshold: float, across: bool) -> set[frozenset[int]]:
    """Return the groups, found by comparing every pair and following the links."""
    cosines = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    near = np.abs(cosines - threshold) < 1e-5
    assert not near[~np.eye(len(vectors), dtype=bool)].any() or threshold == 1, "too near to the threshold to be judged"
    linked: dict[int, list[int]] = {}
    for one in range(len(vectors)):
        for other in range(len(vectors)):
            both = suppliers[one] >= 0 and suppliers[other] >= 0 and (suppliers[one] != suppliers[other]) == across
            if one != other and both and cosines[one, other] >= threshold - 1e-6:
                linked.setdefault(one, []).append(other)
    groups, seen = set(), set()
    for start in linked:
        if start not in seen:
            group, ahead = {start}, [start]
            while ahead:
                new = set(linked[ahead.pop()]) - group
                group |= new
                ahead += new
            seen |= group
            groups.add(frozenset(group))
    return groups


def members(groups: Groups) -> list[list[int]]:
    return [groups.rows[where].tolist() for where in groups.slices]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("threshold", [0.9, 0.98, 1.0])
def test_groups_equal_those_of_brute_force(
    monkeypatch: pytest.MonkeyPatch, threshold: float, across: bool, block: tuple[int, int]
) -> None:
    monkeypatch.setattr(duplicates, "_ROWS", block[0])
    monkeypatch.setattr(duplicates, "_COLUMNS", block[1])
    vectors = catalogue(150, seed=3)
    suppliers = np.random.default_rng(4).integers(-1, 4, 150)
    found = find_groups(vectors, suppliers, threshold=threshold, across=across, progress=False)
    expected = by_hand(vectors, suppliers.tolist(), threshold, across)
    assert expected, "nothing planted was found: the test would prove nothing"
    assert {frozenset(group) for group in members(found)} == expected
    assert len(found.slices) == len(expected)
    assert found.compared == np.count_nonzero(suppliers >= 0)


def test_groups_are_in_order_and_scored_against_their_first_product() -> None:
    vectors = catalogue(200, seed=5, planted=0.6)
    found = find_groups(vectors, np.zeros(200, int), threshold=0.9, progress=False)
    groups = members(found)
    assert [len(group) for group in groups] == sorted(map(len, groups), reverse=True) == found.sizes.tolist()
    assert len(groups[0]) > 2
    for number, (group, where) in enumerate(zip(groups, found.slices, strict=True)):
        assert group[0] == min(group)
        assert (found.numbers[where] == number).all()
        scores = found.scores[where]
        np.testing.assert_allclose(scores, vectors[group] @ vectors[group[0]], atol=1e-6)
        assert (np.diff(scores[1:]) <= 0).all()


def test_products_of_one_supplier_are_not_linked_through_another() -> None:
    chain = np.array([[np.cos(angle), np.sin(angle)] for angle in np.radians([0, 10, 20])], np.float32)
    floor = float(np.cos(np.radians(11)))
    assert members(find_groups(chain, np.array([0, 0, 0]), threshold=floor, progress=False)) == [[0, 1, 2]]
    assert members(find_groups(chain, np.array([0, 1, 0]), threshold=floor, progress=False)) == []
    across = find_groups(chain, np.array([0, 1, 0]), threshold=floor, across=True, progress=False)
    assert members(across) == [[0, 1, 2]]
    assert across.scores[2] < floor  # linked only through the second product
    assert members(find_groups(chain, np.array([0, 0, 0]), threshold=floor, across=True, progress=False)) == []


@pytest.mark.parametrize("threshold", [0.0, -0.5, 1.01, float("nan")])
def test_a_threshold_outside_its_limits_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match=f"threshold: must be above 0 and at most 1.* got {threshold}"):
        find_groups(catalogue(4, seed=0), np.zeros(4, int), threshold=threshold)


def test_products_without_a_partner_give_no_groups() -> None:
    for suppliers in (np.empty(0, int), np.full(3, -1), np.arange(3)):
        found = find_groups(np.eye(3, dtype=np.float32)[: len(suppliers)], suppliers, threshold=0.5, progress=False)
        assert members(found) == [] and found.sizes.tolist() == []


@settings(max_examples=60)
@given(st.lists(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=20), max_size=4))
def test_connected_rows_are_those_that_the_links_connect(batches: list[list[tuple[int, int]]]) -> None:
    connected, groups = ConnectedRows(30), [{row} for row in range(30)]
    for batch in batches:
        links = np.array(batch, int).reshape(-1, 2)
        connected.link(links[:, 0], links[:, 1])
        for one, other in batch:
            joined = groups[one] | groups[other]
            for row in joined:
                groups[row] = joined
    assert connected.roots(np.arange(30)).tolist() == [min(group) for group in groups]


# Through an index


def with_suppliers(folder: IndexFolder, names: Sequence[str | None]) -> IndexFolder:
    """Return the same index with a column `supplier`."""
    attributes = folder.attributes.append_column("supplier", pa.array(names, pa.string()))
    return IndexFolder(**{**vars(folder), "attributes": attributes})


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf", "ivf-sq8"])
@pytest.mark.parametrize("across", [False, True])
def test_a_large_index_gives_the_same_groups_by_searching(
    kind: str, across: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_index(kind, 2_000)  # its last ten products repeat the first ten
    names = [None if row % 97 == 5 else "AB"[row % 3 == 0] for row in range(2_000)]
    folder = with_suppliers(folder, names)
    suppliers = supplier_codes(folder, "supplier")
    exact = find_duplicates(folder, suppliers, threshold=0.93, across=across, progress=False)
    assert len(exact.slices) > 3
    calls = 0

    def counted(*given: object) -> object:
        nonlocal calls
        calls += 1
        return search(*given)

    search = duplicates.search_rescored
    monkeypatch.setattr(duplicates, "search_rescored", counted)
    monkeypatch.setattr(duplicates, "EXACT_PRODUCTS", 100)
    searched = find_duplicates(folder, suppliers, threshold=0.93, across=across, progress=False)
    assert calls > 0
    assert {frozenset(group) for group in members(searched)} == {frozenset(group) for group in members(exact)}


def test_linked_crowds_of_equal_products_are_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest products of each product are all in its crowd. Only the crowds' first products link the crowds."""
    monkeypatch.setattr(duplicates, "NEIGHBOURS", 4)
    monkeypatch.setattr(duplicates, "EXACT_PRODUCTS", 10)
    angles = np.radians([0] * 20 + [5] * 20 + [90] * 20 + [200, 201])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def nearest(queries: np.ndarray, supplier: int | None, k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = queries @ vectors.T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, rows, 1), rows

    found = find_groups(vectors, np.zeros(62, int), threshold=0.99, nearest=nearest, progress=False)
    assert members(found) == [list(range(40)), list(range(40, 60)), [60, 61]]


def test_rows_that_are_not_alive_are_left_out() -> None:
    folder = make_index("flat", 100)  # rows 90 to 99 repeat 0 to 9
    alive = np.ones(100, bool)
    alive[[0, 91]] = False
    manifest_and_all = {**vars(folder), "alive": RowMask(alive)}
    folder = IndexFolder(**manifest_and_all)
    suppliers = supplier_codes(folder, None)
    found = find_duplicates(folder, suppliers, threshold=0.9999, progress=False)
    assert sorted(members(found)) == [[row, 90 + row] for row in range(2, 10)]


def test_products_of_the_delta_are_compared_too() -> None:
    folder = make_index("flat", 100)
    delta = folder.vectors[[40, 41]]
    folder = IndexFolder(
        **{
            **vars(folder),
            "delta": delta,
            "product_ids": np.append(folder.product_ids, [7, 8]),
            "attributes": pa.concat_tables([folder.attributes, folder.attributes.slice(0, 2)]),
        }
    )
    found = find_duplicates(folder, supplier_codes(folder, None), threshold=0.9999, progress=False)
    assert [40, 100] in members(found) and [41, 101] in members(found)


@pytest.mark.parametrize(
    "column",
    [
        pa.chunked_array([["x", "y"], ["y", None, "x"]]),
        pa.chunked_array([pa.array(["x", "y"]).dictionary_encode(), pa.array(["y", None, "x"]).dictionary_encode()]),
        pa.chunked_array([[17, 4], [4, None, 17]]),
    ],
)
def test_suppliers_may_be_in_a_column_of_any_type(column: pa.ChunkedArray) -> None:
    folder = make_index("flat", 12)
    attributes = folder.attributes.slice(0, 5).append_column("supplier_id", column)
    folder = IndexFolder(**{**vars(folder), "product_ids": folder.product_ids[:5], "attributes": attributes})
    codes = supplier_codes(folder, "supplier_id")
    assert codes[0] == codes[4] >= 0
    assert codes[1] == codes[2] >= 0
    assert codes[0] != codes[1]
    assert codes[3] == -1


def test_a_missing_supplier_column_is_refused_with_the_known_columns() -> None:
    with pytest.raises(ValueError, match="supplier-column: the index has no column 'vendor'; it has title, colour"):
        supplier_codes(make_index("flat", 12), "vendor")


# Against labelled pairs


def pairs_file(file: Path, pairs: Sequence[tuple[int, int]], labels: Sequence[int] | None = None) -> LabelledPairs:
    columns = {"trigger_id": [one for one, _ in pairs], "recall_id": [other for _, other in pairs]}
    pq.write_table(pa.table(columns | ({} if labels is None else {"label": labels})), file)
    return read_pairs(file)


def grouped(*groups: Sequence[int]) -> Groups:
    numbers = [number for number, group in enumerate(groups) for _ in group]
    rows = np.array([row for group in groups for row in group])
    return Groups(numbers=np.array(numbers), rows=rows, scores=np.ones(len(rows), np.float32), compared=10)


IDS = np.arange(10) * 10
WHOLE = np.zeros(10, int)
FOUND = grouped([0, 1, 2], [3, 4])


def test_without_negative_labels_a_pair_that_is_not_listed_counts_as_wrong(tmp_path: Path) -> None:
    # One pair in both directions, an unknown product, a product with itself, and a pair that was not found.
    pairs = pairs_file(tmp_path / "pairs", [(0, 10), (10, 0), (0, 7), (20, 20), (50, 60), (30, 990)])
    agreement = compare_pairs(pairs, FOUND, IDS, WHOLE, across=False)
    assert (agreement.labelled, agreement.right) == (2, 1)
    assert agreement.judged == 3  # 0-1, 0-2 and 1-2; the file says nothing about 3 and 4
    assert (agreement.precision, agreement.recall) == (1 / 3, 1 / 2)


def test_with_negative_labels_only_listed_pairs_are_judged(tmp_path: Path) -> None:
    pairs = pairs_file(tmp_path / "pairs", [(0, 10), (20, 0), (30, 50), (80, 90)], [1, 0, 0, 1])
    agreement = compare_pairs(pairs, FOUND, IDS, WHOLE, across=False)
    assert (agreement.labelled, agreement.right, agreement.judged) == (2, 1, 2)


def test_only_pairs_that_can_be_found_are_judged(tmp_path: Path) -> None:
    suppliers = np.array([0, 0, 1, 1, 1, -1, 0, 0, 0, 0])
    pairs = pairs_file(tmp_path / "pairs", [(0, 10), (0, 20), (10, 20), (30, 40), (30, 50)])
    inside = compare_pairs(pairs, grouped([0, 1], [3, 4]), IDS, suppliers, across=False)
    assert (inside.labelled, inside.right, inside.judged) == (2, 2, 2)
    across = compare_pairs(pairs, grouped([0, 1, 2]), IDS, suppliers, across=True)
    assert (across.labelled, across.right, across.judged) == (2, 2, 2)


def test_an_id_means_the_row_that_was_compared(tmp_path: Path) -> None:
    """A product that was embedded again has several rows."""
    ids, suppliers = np.array([10, 20, 30, 10, 20]), np.array([-1, -1, 0, 0, 0])
    pairs = pairs_file(tmp_path / "pairs", [(10, 20), (20, 30)])
    agreement = compare_pairs(pairs, grouped([3, 4]), ids, suppliers, across=False)
    assert (agreement.labelled, agreement.right, agreement.judged) == (2, 1, 1)


def test_without_judged_pairs_the_shares_are_none_and_a_missing_column_is_refused(tmp_path: Path) -> None:
    agreement = compare_pairs(pairs_file(tmp_path / "pairs", [(5, 7)]), FOUND, IDS, WHOLE, across=False)
    assert (agreement.labelled, agreement.precision, agreement.recall) == (0, None, None)
    pq.write_table(pa.table({"trigger_id": [1]}), tmp_path / "other")
    with pytest.raises(ValueError, match=r"pairs: .*other has no column 'recall_id'"):
        read_pairs(tmp_path / "other")


def test_pairs_with_unknown_products_are_counted_and_contradictions_are_refused(tmp_path: Path) -> None:
    pairs = pairs_file(tmp_path / "pairs", [(0, 10), (10, 7), (20, 0)], [1, 1, 0])
    assert pairs.same == [(0, 10), (10, 7)]
    assert pairs.note_unknown(np.array([0, 7, 10, 20]), "the index") is None
    assert pairs.note_unknown(IDS, "the index") == (
        "1 of 3 pairs, such as 10 and 7, name a product that is not in the index, and are left out"
    )
    with pytest.raises(ValueError, match=r"'label' has 1 in row 0 and 0 in row 2 \(from 0\) for the products 0 and 10"):
        pairs_file(tmp_path / "pairs", [(0, 10), (20, 30), (10, 0)], [1, 1, 0])
    with pytest.raises(ValueError, match=r"column 'label' must hold 0 or 1, row 1 \(from 0\) has 2"):
        pairs_file(tmp_path / "pairs", [(0, 10), (20, 30)], [1, 2])
