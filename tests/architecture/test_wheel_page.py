"""What of the page goes into the installed package."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def is_shipped(path: str) -> bool:
    """Say whether the wheel takes a file of the page's folder; a pattern's star stays within one folder."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    patterns = [pattern.removeprefix("/") for pattern in wheel["include"] + wheel["artifacts"]]
    return any(fnmatch(path, pattern) and path.count("/") == pattern.count("/") for pattern in patterns)


def test_the_wheel_has_all_of_the_page_and_nothing_that_builds_it() -> None:
    """An installed package serves what a browser asks for, and carries neither npm's files nor its modules."""
    asked = [
        path.relative_to(ROOT).as_posix()
        for ending in ("html", "js", "css", "svg")
        for path in (ROOT / "dashboard").glob(f"*.{ending}")
    ]
    assert len(asked) > 10
    built = ["uPlot.esm.js", "uPlot.min.css", "uPlot.LICENSE"]
    assert all(map(is_shipped, [*asked, *(f"dashboard/vendor/{name}" for name in built)]))
    others = ["package.json", "package-lock.json", ".npmrc", "build.mjs", "README.md", "vendor/.stamp"]
    modules = ["node_modules/.package-lock.json", "node_modules/uplot/dist/uPlot.esm.js"]
    assert not any(is_shipped(f"dashboard/{name}") for name in others + modules)


def test_the_wheel_puts_the_page_where_an_installed_package_looks_for_it() -> None:
    """The page and the models lie in `data` beside the module that looks them up."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["sources"] == {name: f"deploy/data/{name}" for name in ("models", "dashboard")}
    assert {"/countline", "/edge", "/gateway", "/cloud", "/deploy", "/models"} <= set(wheel["include"])
