"""The release, as `setup.cfg` has it; that file is not where the program runs."""

from typing import Final

VERSION: Final = "0.1.0"
