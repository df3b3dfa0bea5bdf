"""docs/security.md names every provision of ETSI EN 303 645 once, and only tests that exist."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = (REPOSITORY / "docs" / "security.md").read_text()
# How many provisions each section of V2.1.1 has.
PROVISIONS = {"5.1": 5, "5.2": 3, "5.3": 16, "5.4": 4, "5.5": 8, "5.6": 9, "5.7": 2, "5.8": 3, "5.9": 3} | {
    "5.10": 1, "5.11": 4, "5.12": 3, "5.13": 1, "6": 5,
}  # fmt: skip
NAMED = sorted(set(re.findall(r"`(test_\w+)::(test_\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=lambda name: name)
def test_a_test_that_the_page_names_exists(file, test):
    (path,) = (REPOSITORY / "tests").rglob(f"{file}.py")
    names = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
    assert test in names


def test_every_provision_stands_there_once():
    rows = re.findall(r"^\| ((?:\d+(?:\.\d+)?-\d+(?:, )?)+) ", PAGE, re.MULTILINE)
    listed = [provision for row in rows for provision in row.split(", ")]
    assert listed == [f"{section}-{number}" for section, count in PROVISIONS.items() for number in range(1, count + 1)]


def test_what_is_claimed_as_met_names_its_reason():
    for row in re.findall(r"^\| \d.*$", PAGE, re.MULTILINE):
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 4, row
        assert len(cells[3]) > 5, row
