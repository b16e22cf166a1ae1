"""docs/files.md tells what is kept of files, as it is found in files that are written for it."""

from pathlib import Path

import numpy as np
from tests.io.files_table import KEPT, ROWS, cell, table

PAGE = Path(__file__).parents[2] / "docs/files.md"


def test_the_table_of_the_page_is_what_is_found():
    """If it is not: ``python -m tests.io.files_table`` prints what belongs there."""
    found = table()
    assert found in PAGE.read_text(encoding="utf-8")
    assert "lost" not in found
    assert len(found.splitlines()) == 2 + len(ROWS)


def test_a_cell_tells_what_differs():

    values = np.arange(6.0).reshape(2, 3)
    assert cell(values, values) == "kept"
    assert cell(values, values + 1) == "nearly"
    assert cell(values, values + 50) == "lost"
    assert cell(values, None) == cell(values, values.T) == "lost"
    assert cell([1], [1]) == "kept"
    assert cell([1], None) == "lost"
    assert cell(None, [1]) == ""
    assert "pixels" in KEPT
