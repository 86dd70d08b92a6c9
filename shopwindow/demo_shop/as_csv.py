"""Write a small shop the way shops keep theirs: a CSV with SKUs, prices as text and paths of photos."""

from __future__ import annotations

import csv
from pathlib import Path

from shopwindow.base.progress_bar import progress_bar
from shopwindow.demo_shop import chinese
from shopwindow.demo_shop.assortment import Offer, assort, picture_of
from shopwindow.demo_shop.generate import JPEG_QUALITY
from shopwindow.demo_shop.titles import title_of

COLUMNS = ("sku", "name", "brand", "colour", "price", "sizes", "photo_path")
_RUPEES = 100  # for one unit of the parquet shop's prices
_SIZES = ("XS", "S", "M", "L", "XL")
_SIZE_SEPARATOR = "|"


def write_csv_shop(folder: Path, *, products: int = 300, seed: int = 7, progress: bool = True) -> Path:
    """Write products.csv and a folder `photos` beside it. The same arguments write the same bytes.

    Args:
        folder: created if missing.
        products: rows of the CSV file.
        seed: seed of all random choices.
        progress: show a progress bar while drawing.

    Returns:
        The CSV file.

    Raises:
        ValueError: `products` is below 1.
    """
    if products < 1:
        raise ValueError(f"products must be at least 1, not {products}")
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    rows = []
    # A shop writes one language: the demo's sellers that write Chinese are left out.
    offers = [one for one in assort(products=2 * products, seed=seed) if one.supplier not in chinese.SUPPLIERS][
        :products
    ]
    for offer in progress_bar(offers, total=products, desc="drawing products", unit="product", enabled=progress):
        row = _row(offer)
        picture_of(offer).save(folder / row["photo_path"], "JPEG", quality=JPEG_QUALITY)
        rows.append(row)
    file = folder / "products.csv"
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file


def _row(offer: Offer) -> dict[str, str]:
    sku = f"{offer.brand[:3]}-{offer.style.article.name[:3]}-{offer.product_id}".upper().replace(" ", "X")
    first = offer.product_id % 3
    sizes = _SIZES[first : first + 3] if offer.style.article.audiences else ()
    return {
        "sku": sku,
        "name": title_of(offer),
        "brand": offer.brand,
        "colour": offer.style.colour,
        "price": f"₹{offer.price * _RUPEES:,.2f}",
        "sizes": _SIZE_SEPARATOR.join(sizes),
        "photo_path": f"photos/{sku}.jpg",
    }
