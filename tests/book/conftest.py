"""Let the tests of this directory import what makes the book, and the kit for browsers."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
for place in (ROOT / "tools", ROOT / "tests" / "browser"):
    sys.path.insert(0, str(place))
