"""Prices as people write them, lists and dates: the same in every format, and nothing is guessed."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shopwindow.indexing.catalogue.options import CatalogOptions, read_lists, read_numbers
from shopwindow.indexing.catalogue.reading import Catalog
from shopwindow.indexing.errors import CatalogError
from shopwindow.indexing.full_build.run import build_index
from shopwindow.indexing.update.compaction import compact
from shopwindow.indexing.update.run import update_index
from shopwindow.retrieval import parse_parameters
from shopwindow.retrieval.index.folder import read_manifest
from shopwindow.retrieval.opening import open_index

TEXT_FORMATS = ["a.parquet", "a.csv", "a.jsonl"]


def write(folder: Path, name: str, values: list[Any], kind: pa.DataType | None = None) -> Path:
    file = folder / name
    if file.suffix == ".parquet":
        table = {"product_id": range(len(values)), "title": ["mug"] * len(values), "c": pa.array(values, kind)}
        pq.write_table(pa.table(table), file, row_group_size=2)
    elif file.suffix == ".csv":
        with file.open("w", newline="") as stream:
            csv.writer(stream).writerows([["product_id", "title", "c"], *([n, "mug", v] for n, v in enumerate(values))])
    else:
        rows = [{"product_id": n, "title": "mug", "c": value} for n, value in enumerate(values)]
        file.write_text("\n".join(map(json.dumps, rows)))
    return file


def column(catalog: Catalog) -> list[Any]:
    return [value for rows in catalog.read(2) for value in rows.attributes["c"].to_pylist()]


def numbers(*texts: str) -> CatalogOptions:
    return CatalogOptions(numbers=read_numbers(texts))


@pytest.mark.parametrize("name", TEXT_FORMATS)
@pytest.mark.parametrize(
    ("values", "option", "expected"),
    [
        (["₹1,299.00", "₹1,29,999.00", "₹ 1,299", None], "c", [1299.0, 129999.0, 1299.0, None]),
        (["1.299,00 €", "1.299 €", "12,5 €", None], "c", [1299.0, 1299.0, 12.5, None]),
        (["$ 15", "$1200", "-$3", "$-4", "$.50"], "c", [15.0, 1200.0, -3.0, -4.0, 0.5]),
        (["USD 1,000", "USD 1,000,000", "500"], "c", [1000.0, 1_000_000.0, 500.0]),
        (["1 299,00 kr", "1\u00a0299,5 kr", "5,- kr"], "c", [1299.0, 1299.5, 5.0]),
        (["Rs.1,299", "Rs. 50.5", "Rs.9"], "c", [1299.0, 50.5, 9.0]),
        (["CHF 1'299.00", "1’299"], "c", [1299.0, 1299.0]),
        (["1,299", "2,500"], "c:.", [1299.0, 2500.0]),
        (["1,299", "2,500"], "c:,", [1.299, 2.5]),
        (["15", " ", "7"], "c", [15.0, None, 7.0]),
        (["15", "1200", "7"], "c", [15.0, 1200.0, 7.0]),  # the mark does not matter
        (["0.999", "1,299"], "c", [0.999, 1299.0]),
        (["रु 1,299.00"], "c", [1299.0]),
    ],
    ids=str,
)
def test_prices_become_numbers(
    tmp_path: Path, name: str, values: list[str | None], option: str, expected: list[float | None]
) -> None:
    catalog = Catalog(write(tmp_path, name, values), numbers(option))
    assert catalog.schema.field("c").type == pa.float64()
    assert column(catalog) == expected
    assert column(Catalog(tmp_path / name, CatalogOptions.from_json(catalog.options.to_json()))) == expected


@pytest.mark.parametrize("name", TEXT_FORMATS)
@pytest.mark.parametrize(
    ("values", "option", "named"),
    [
        (["€ 5", "€ 1,299"], "c", r"row 1 of .* has '€ 1,299', which is 1299 or 1\.299, .* say --number c:\. if"),
        (["1.299,00", "1,299.00"], "c", r"row 1 of .* '1,299\.00' and row 0 of .* '1\.299,00': write both with one"),
        (["1,5", "2"], "c:.", r"--number c:\.: row 0 of .* has '1,5', which is no number with the decimal mark '\.'"),
        (["5", "on request"], "c", "row 1 of .* has 'on request', which is no number"),
        (["5", "10-15"], "c", "row 1 of .* has '10-15', which is no number"),
        (["5", "3 for 10"], "c", "has '3 for 10'"),
        (["5", "1,2,3"], "c", "has '1,2,3'"),
        (["5", "12,34.5.6"], "c", "has '12,34.5.6'"),
        (["5", "5%"], "c", "has '5%'"),
        (["5", "(5)"], "c", r"has '\(5\)'"),
        (["5", "9007199254740993"], "c", "has '9007199254740993', which is no number of at most 15 digits"),
        (["$5", "€5"], "c", r"row 0 of .* has the unit '\$' and row 1 of .* has '€'"),
        (["1 kg", "500 g"], "c", "row 0 of .* has the unit 'kg' and row 1 of .* has 'g'"),
        (["5", "x" * 5_000], "c", "has 'xxxx"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_price_that_is_not_sure_is_refused(
    tmp_path: Path, name: str, values: list[str], option: str, named: str
) -> None:
    with pytest.raises(CatalogError, match=named) as caught:
        Catalog(write(tmp_path, name, values), numbers(option))
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@settings(max_examples=60, deadline=None)
@given(
    cents=st.lists(st.integers(0, 10**11), min_size=1, max_size=6),
    mark=st.sampled_from(".,"),
    unit=st.sampled_from(["{} €", "₹{}", "US$ {}", "{}"]),
    data=st.data(),
)
def test_written_prices_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, cents: list[int], mark: str, unit: str, data: st.DataObject
) -> None:
    """One value has two decimals, which tell the mark; the others may be written without."""
    group = data.draw(st.sampled_from(["", " ", "'", {".": ",", ",": "."}[mark]]))
    texts = []
    for place, cent in enumerate(cents):
        whole = f"{cent // 100:,}".replace(",", group)
        fraction = f"{mark}{cent % 100:02d}" if place == 0 or cent % 100 or data.draw(st.booleans()) else ""
        texts.append(unit.format(whole + fraction))
    catalog = Catalog(write(tmp_path_factory.mktemp("p"), "a.csv", texts), numbers("c"))
    assert column(catalog) == [cent / 100 for cent in cents]


def test_files_decide_together_and_declared_numbers_stay(tmp_path: Path) -> None:
    one, two = write(tmp_path, "1.csv", ["1,299"]), write(tmp_path, "2.csv", ["1,299.50"])
    typed = write(tmp_path, "3.parquet", [5.5, None])
    catalog = Catalog([one, two, typed], numbers("c"))
    assert column(catalog) == [1299.0, 1299.5, 5.5, None]
    assert catalog.options.numbers == {"c": "."}
    other = write(tmp_path, "4.csv", ["€5"])
    with pytest.raises(CatalogError, match=r"unit '\$' and row 0 of .*4\.csv has '€'"):
        Catalog([write(tmp_path, "5.csv", ["$5"]), other], numbers("c"))
    with pytest.raises(CatalogError, match=r"unit '\$' and row 0 of .*4\.csv has '€'"):
        Catalog([one, write(tmp_path, "6.csv", ["$5"]), other], numbers("c"))  # the first file has no unit


LISTS = [["S", "M"], None, ["größe 38"]]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.large_list(pa.string_view()),
        pa.list_view(pa.large_string()),
        pa.large_list_view(pa.dictionary(pa.int8(), pa.string())),
    ],
    ids=str,
)
def test_lists_are_the_same_in_every_format(tmp_path: Path, kind: pa.DataType) -> None:
    dictionary = pa.types.is_dictionary(kind.value_type)  # Arrow makes no such lists from Python
    values = pa.array(LISTS, pa.large_list(pa.string())) if dictionary else LISTS
    files = [
        write(tmp_path, "1.parquet", values, None if dictionary else kind),
        write(tmp_path, "2.jsonl", LISTS),
        write(tmp_path, "3.csv", ["S| M |", "", "größe 38"]),
    ]
    options = CatalogOptions(lists=read_lists(["c=|"]))
    assert column(Catalog(files, options)) == LISTS * 3
    for file in files:
        catalog = Catalog(file, options)
        assert catalog.schema.field("c").type == pa.list_(pa.large_string())
        assert column(catalog) == LISTS


@pytest.mark.parametrize(
    ("texts", "values", "kind"),
    [
        (["38|40", "", "7"], [[38, 40], None, [7]], pa.int64()),
        (["38|40.5", "", "7"], [[38.0, 40.5], None, [7.0]], pa.float64()),
        (["true|false"], [[True, False]], pa.bool_()),
        (["007|5"], [["007", "5"]], pa.large_string()),
    ],
)
def test_the_values_of_lists_decide_their_type(
    tmp_path: Path, texts: list[str], values: list[Any], kind: pa.DataType
) -> None:
    for name, written in (("a.csv", texts), ("a.jsonl", values)):
        catalog = Catalog(write(tmp_path, name, written), CatalogOptions(lists={"c": "|"}))
        assert catalog.schema.field("c").type == pa.list_(kind)
        assert column(catalog) == values


def test_lists_that_are_no_lists_of_one_kind(tmp_path: Path) -> None:
    def refused(values: list[Any]) -> str:
        with pytest.raises(CatalogError) as caught:
            Catalog(write(tmp_path, "a.jsonl", values))
        return str(caught.value)

    assert "has no single type: row 0 of" in (line := refused([["S"], "M"]))
    assert "a.jsonl has 'M'; write all its values alike" in line
    assert "has '5'" in refused([["S"], ["M", 5]])
    for values in ([{"a": 1}], [[{"a": 1}]], [[["a"]]]):
        assert "c" in Catalog(write(tmp_path, "a.jsonl", values)).left_out
    assert Catalog(write(tmp_path, "a.jsonl", [[], None])).left_out == {"c": "it has no value"}
    half = write(tmp_path, "a.jsonl", [["mug \ud83d"], ["b"]])
    (rows,) = Catalog(half).read(9)
    assert list(rows.refused) == [0]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_dates_and_timestamps(tmp_path: Path, name: str) -> None:
    days = ["2024-01-31", None, "1969-12-31"]
    asked = CatalogOptions(dates=("c",))
    assert Catalog(write(tmp_path, name, days)).schema.field("c").type == pa.large_string()
    catalog = Catalog(write(tmp_path, name, days), asked)
    assert catalog.schema.field("c").type == pa.date32()
    assert column(catalog) == [date(2024, 1, 31), None, date(1969, 12, 31)]
    catalog = Catalog(write(tmp_path, name, [*days, "2024-01-31T12:00:00+08:00", "2024-01-31 12:00:00.5"]), asked)
    assert catalog.schema.field("c").type == pa.timestamp("us", "UTC")
    assert column(catalog) == [
        datetime(2024, 1, 31, tzinfo=UTC),
        None,
        datetime(1969, 12, 31, tzinfo=UTC),
        datetime(2024, 1, 31, 4, tzinfo=UTC),
        datetime(2024, 1, 31, 12, 0, 0, 500_000, tzinfo=UTC),
    ]
    with pytest.raises(CatalogError, match=r"--date c: row 1 of .* has '31/01/2024'; write dates"):
        Catalog(write(tmp_path, name, ["2024-01-31", "31/01/2024"]), asked)


@pytest.mark.parametrize(
    ("kind", "read_as"),
    [
        (pa.date32(), date(2024, 1, 31)),
        (pa.date64(), date(2024, 1, 31)),
        (pa.timestamp("ns"), datetime(2024, 1, 31, tzinfo=UTC)),
        (pa.timestamp("s", "Asia/Shanghai"), datetime(2024, 1, 31, tzinfo=UTC)),
    ],
    ids=str,
)
def test_parquet_says_which_columns_are_dates(tmp_path: Path, kind: pa.DataType, read_as: Any) -> None:
    typed = write(tmp_path, "a.parquet", [date(2024, 1, 31) if "date" in str(kind) else read_as, None], kind)
    assert column(Catalog(typed)) == [read_as, None]
    # The type counts for texts of other files, too.
    assert column(Catalog([typed, write(tmp_path, "b.csv", ["2024-01-31"])])) == [read_as, None, read_as]
    assert column(Catalog([typed, write(tmp_path, "b.jsonl", ["2024-01-31"])])) == [read_as, None, read_as]
    with pytest.raises(CatalogError, match=r"'c' of .*b\.csv should be .*, and row 0 has 'soon'"):
        column(Catalog([typed, write(tmp_path, "b.csv", ["soon"])]))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"numbers": {"title": ""}}, "number: 'title' cannot be a number: title is read from it"),
        ({"numbers": {"c": ""}, "lists": {"c": "|"}}, "list: 'c' cannot be a list: it is a number"),
        ({"numbers": {"c": ";"}}, "the decimal mark of 'c' must be"),
        ({"lists": {"c": ""}}, "must be a column and a separator"),
        ({"dates": ("d",)}, r"--date d: there is no column 'd' in .*; there are \['c', 'product_id', 'title'\]"),
        ({"lists": {"cc": "|"}}, r"--list cc=\|: there is no column 'cc' .* \(did you mean 'c'\?\)"),
    ],
)
def test_options_that_contradict_are_refused(tmp_path: Path, options: dict[str, Any], named: str) -> None:
    with pytest.raises(CatalogError, match=named):
        Catalog(write(tmp_path, "a.csv", ["5"]), CatalogOptions(**options))
    with pytest.raises(CatalogError, match="holds true or false, and only texts can become numbers"):
        Catalog(write(tmp_path, "a.jsonl", [True]), numbers("c"))


def test_an_index_keeps_the_options_and_filters_on_the_columns(tmp_path: Path, repository: Path) -> None:
    """Built from CSV, changed by JSON lines, compacted: the same columns each time."""
    home = tmp_path / "index"
    (tmp_path / "a.csv").write_text(
        "product_id,title,price,sizes,made\n"
        '1,red mug,"₹1,299.00",S|M,2024-01-31\n2,blue mug,₹ 350,L,2024-02-01\n3,bowl,,,\n'
    )
    reading = CatalogOptions(numbers={"price": ""}, lists={"sizes": "|"}, dates=("made",))
    build_index(tmp_path / "a.csv", repository, home, reading=reading, progress=False)

    def found(**conditions: Any) -> list[int]:
        index = open_index(home)
        query = np.eye(1, index.manifest.dim, dtype=np.float32)
        parameters = parse_parameters({"top_k": 9, "filter": json.dumps(conditions)})
        index.check(query, parameters)
        return sorted(index.search_batch([(query, parameters)])[0].product_ids[0, :].tolist())

    def kept(*ids: int) -> list[int]:
        return sorted([*ids, *[-1] * (9 - len(ids))])

    assert found(price={"gte": 1000}) == kept(1)
    assert found(sizes={"contains_all": ["S", "M"]}) == kept(1)
    assert found(made={"lte": "2024-01-31"}) == kept(1)
    # "1,500" alone would be refused; the index knows its decimal mark.
    changes = tmp_path / "c.jsonl"
    changes.write_text('{"product_id": 3, "price": "₹1,500", "sizes": ["M"], "made": "2024-03-01"}')
    assert update_index(home, repository, changes=changes, progress=False).attributes_only == 1
    changes.write_text('{"product_id": 2, "price": "$ 12"}')
    with pytest.raises(CatalogError, match=r"row 0 of .*c\.jsonl has the unit '\$', and the index has '₹'"):
        update_index(home, repository, changes=changes, progress=False)
    for _ in range(2):
        assert found(price={"gte": 1000}) == kept(1, 3)
        assert found(sizes="M") == kept(1, 3)
        assert found(sizes={"ne": "M"}, made={"exists": True}) == kept(2)
        assert found(made={"gt": "2024-01-31"}) == kept(2, 3)
        changes.write_text('{"product_id": 3, "title": "big bowl"}')
        update_index(home, repository, changes=changes, progress=False)
        compact(home, progress=False)
    assert read_manifest(home).reading == {
        "numbers": {"price": "."},
        "units": {"price": "₹"},
        "lists": {"sizes": "|"},
        "dates": ["made"],
    }
