#!/usr/bin/env python3
"""Makes the database of the example: make_shop.py shop.sqlite"""

import sqlite3
import sys
from pathlib import Path

if len(sys.argv) != 2:
    sys.exit(__doc__)
place = Path(sys.argv[1])
if place.exists():
    sys.exit(f"{place} exists already")
database = sqlite3.connect(place)
database.executescript(Path(__file__).with_name("shop.sql").read_text(encoding="utf-8"))
database.close()
