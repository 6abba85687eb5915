"""How the code should read, as far as a machine can tell. Each check lists every offence it finds."""

import ast
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
# Names that say nothing of what is inside.
VAGUE = {"util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"}
UNFINISHED = re.compile(r"\b(TO[D]O|FIX[M]E)\b")
MACHINE_PATH = re.compile(r"(?<![\w.~/})])/(work|root|home|Users)\b")
REGISTRY_HOST = re.compile(r"pypi\.org|pythonhosted\.org|anaconda\.org|npmjs\.(org|com)|proxy\.golang\.org")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


def project_files() -> list[Path]:
    """Every file that is, or could be, committed; where git cannot tell, all that set-up did not make."""
    paths = listed_by_git() or walk(ROOT)
    return sorted(path for path in paths if path.is_file())


def listed_by_git() -> list[Path]:
    if not (ROOT / ".git").exists():  # a copy, perhaps inside another repository
        return []
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # no git here, or it does not trust the folder's owner
        return []
    return [ROOT / name for name in listed.split("\0") if name]


def walk(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not is_made(Path(folder, name))]
        yield from (Path(folder, name) for name in names)


def is_made(folder: Path) -> bool:
    """True for virtualenvs, caches and what builds and the demo leave behind."""
    hidden = folder.name.startswith(".") and folder.name != ".ci"
    built = folder.name in {"__pycache__", "build", "dist", "demo-lake"} or folder.suffix == ".egg-info"
    return hidden or built or (folder / "pyvenv.cfg").exists()


FILES = project_files()
PRODUCT = {
    path: ast.parse(path.read_bytes()) for path in FILES if path.suffix == ".py" and ROOT / "tests" not in path.parents
}


def place(path: Path, line: int | None = None) -> str:
    return f"{path.relative_to(ROOT)}" + (f":{line}" if line else "")


def definitions(tree: ast.Module, kind: type | tuple[type, ...]) -> Iterator[Definition]:
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def words(name: str) -> set[str]:
    """The words of a name in snake_case or CamelCase."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{place(path, number)} {line.strip()[:80]}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_the_files_are_found() -> None:
    assert {"pyproject.toml", "lake/keys.py", "tests/test_tidy.py"} <= {place(path) for path in FILES}
    assert ROOT / "lake/keys.py" in PRODUCT


def test_modules_are_short() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PRODUCT}
    assert [f"{place(p)} has {n} lines" for p, n in lengths.items() if n > MODULE_LINES_MAX] == []


def test_functions_are_short() -> None:
    offences = [
        f"{place(path, node.lineno)} {node.name} has {length} lines"
        for path, tree in PRODUCT.items()
        for node in definitions(tree, (ast.FunctionDef, ast.AsyncFunctionDef))
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert offences == []


def test_names_say_something() -> None:
    paths = [
        place(path) for path in FILES if VAGUE & {word for part in path.relative_to(ROOT).parts for word in words(part)}
    ]
    names = [
        f"{place(path, node.lineno)} {node.name}"
        for path, tree in PRODUCT.items()
        for node in definitions(tree, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if VAGUE & words(node.name)
    ]
    assert paths + names == []


def test_modules_say_what_they_are_for() -> None:
    """A package's empty __init__.py has nothing to say."""
    public = {path: tree for path, tree in PRODUCT.items() if tree.body and not re.match("_[^_]", path.name)}
    assert [place(path) for path, tree in public.items() if not ast.get_docstring(tree)] == []


def test_nothing_is_left_for_later() -> None:
    assert lines_that_match(UNFINISHED) == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_that_match(MACHINE_PATH) == []


def test_no_file_names_a_package_registry() -> None:
    assert lines_that_match(REGISTRY_HOST) == []
