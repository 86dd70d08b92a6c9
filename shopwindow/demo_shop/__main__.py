"""`python -m shopwindow.demo_shop --out build/demo/shop`: make the demo shop."""

from __future__ import annotations

import argparse
from pathlib import Path

from shopwindow.demo_shop.as_csv import write_csv_shop
from shopwindow.demo_shop.contact_sheet import contact_sheet
from shopwindow.demo_shop.generate import generate


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: None takes those of the command line.
    """
    parser = argparse.ArgumentParser(prog="python -m shopwindow.demo_shop", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/demo/shop"), help="folder to write (%(default)s)")
    parser.add_argument("--products", type=int, default=3600, help="catalogue size (%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="the same seed makes the same shop (%(default)s)")
    parser.add_argument(
        "--as-csv",
        action="store_true",
        help="write products.csv and a folder of photos, as shops keep theirs, and no other table",
    )
    parser.add_argument(
        "--contact-sheet", action="store_true", help="also draw contact_sheet.png, with every article in several looks"
    )
    options = parser.parse_args(arguments)
    try:
        if options.as_csv:
            print(write_csv_shop(options.out, products=options.products, seed=options.seed))
            return
        print(generate(options.out, products=options.products, seed=options.seed))
    except ValueError as error:
        parser.error(str(error))
    if options.contact_sheet:
        path = options.out / "contact_sheet.png"
        contact_sheet(seed=options.seed).save(path)
        print(path)


if __name__ == "__main__":
    main()
