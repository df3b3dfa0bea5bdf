"""The documentation's links lead somewhere, and every command that it names exists."""

import re
from pathlib import Path

import pytest

from device.cli import outcry

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
    missing = [link for link in links if not re.match(r"[a-z]+:", link) and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_is_named_exists(page):
    named = set(re.findall(r"`outcry ([a-z][a-z-]+)", page.read_text()))
    assert named <= set(outcry.commands)


def test_every_command_stands_in_the_readme_or_the_changes():
    words = (REPOSITORY / "README.md").read_text() + (REPOSITORY / "CHANGELOG.md").read_text()
    assert not [name for name in outcry.commands if name not in words]
