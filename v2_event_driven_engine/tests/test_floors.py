"""The floors of V2 hold: a file imports only what is below it. Read from the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]

FLOORS = {
    "errors": ["errors.py"],
    "market": ["models/", "engine/events.py", "engine/trade.py", "engine/order_book.py",
               "engine/market/"],
    "log": ["engine/event_log.py", "engine/wal_event_store.py", "engine/log/"],
    "audit": ["engine/audit_event.py", "engine/audit_logger.py", "engine/audit/"],
    "engine": ["engine/receipt.py", "engine/subscribers.py", "engine/sequencer.py",
               "engine/event_engine.py"],
    "cluster": ["cluster/"],
    "cli": ["cli/"],
    "main": ["main.py"],
}  # fmt: skip
"""From the lowest to the highest. What ends with / is a folder."""

ROOT_AND_TOURS = {"__init__.py", "engine/__init__.py"}
"""The package's root, which names what is public, and the tour of the folder with all floors."""


def files() -> Iterator[str]:
    """The product's source files, relative to the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("tests/") and name not in ROOT_AND_TOURS:
            yield name


def floor_of(name: str) -> str:
    floors = [
        floor
        for floor, places in FLOORS.items()
        if any(name.startswith(p) if p.endswith("/") else name == p for p in places)
    ]
    assert len(floors) == 1, f"{name} is on the floors {floors}"
    return floors[0]


def file_of(parts: list[str]) -> str | None:
    """The file of a module, or None if this is not a module of the package."""
    path = PACKAGE.joinpath(*parts)
    if path.with_suffix(".py").is_file():
        return path.with_suffix(".py").relative_to(PACKAGE).as_posix()
    if (path / "__init__.py").is_file():
        return (path / "__init__.py").relative_to(PACKAGE).as_posix()
    return None


def imports(name: str) -> Iterator[str]:
    """The files of the package that a file imports."""
    package = list(Path(name).parent.parts)
    for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
        base = [part for part in base if part]
        for alias in node.names:
            found = file_of([*base, alias.name]) or file_of(base)
            assert found is not None, f"{name}: {ast.unparse(node)}"
            yield found


def test_every_file_imports_only_what_is_on_its_floor_or_below() -> None:
    order = list(FLOORS)
    climbs = [
        f"{name} imports {imported}"
        for name in files()
        for imported in imports(name)
        if order.index(floor_of(name)) < order.index(floor_of(imported))
    ]
    assert climbs == []


def test_there_is_no_circle_of_imports() -> None:
    arrows = {name: set(imports(name)) - {name} for name in files()}
    while arrows:
        free = {name for name, targets in arrows.items() if not targets & arrows.keys()}
        assert free, f"these import each other: {sorted(arrows)}"
        arrows = {name: targets for name, targets in arrows.items() if name not in free}


def test_the_market_knows_no_clock_no_thread_no_chance_and_no_file() -> None:
    harmless = {"__future__", "collections", "dataclasses", "enum", "functools", "hashlib",
                "itertools", "msgspec", "re", "sortedcontainers", "typing"}  # fmt: skip
    for name in files():
        if floor_of(name) in ("errors", "market"):
            for node in ast.walk(ast.parse((PACKAGE / name).read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    modules = [str(node.module)]
                else:
                    continue
                assert {module.partition(".")[0] for module in modules} <= harmless, name


def test_the_floors_are_those_that_the_program_has() -> None:
    assert {floor_of(name) for name in files()} == set(FLOORS)
