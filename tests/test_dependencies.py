"""pyproject.toml is the one list of packages; what pip and conda read repeats it."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def listed(name: str) -> set[str]:
    """The packages in a requirements file, without those of files it includes."""
    lines = (ROOT / name).read_text().splitlines()
    return {line for line in lines if line and not line.startswith(("#", "-r"))}


def extra(name: str) -> set[str]:
    """The packages of an extra, with those of extras it names."""
    own = PROJECT["optional-dependencies"][name]
    nested = [p.partition("[")[2].rstrip("]") for p in own if p.startswith("chiqpm[")]
    return {p for p in own if not p.startswith("chiqpm[")}.union(*map(extra, nested))


def test_requirements_files_repeat_the_project():
    assert listed("requirements.txt") == set(PROJECT["dependencies"])
    assert listed("requirements-dev.txt") == extra("dev")
    assert "-r requirements.txt" in (ROOT / "requirements-dev.txt").read_text().splitlines()


def test_the_conda_environment_installs_the_same():
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text().splitlines()]
    assert "- -r requirements.txt" in lines and f"- python{PROJECT['requires-python']}" in lines
