"""The image of the jobs, its steps taken one by one without an engine: what is copied, what is installed, what runs.

The image's root is a folder: absolute paths of the Dockerfile are taken to lie in it, and a virtual environment of this
Python stands for the base image's. Not taken are the steps that need an image: those of `OF_AN_IMAGE`.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import standin
from tests.records import START_US
from tests.test_tidy import ROOT

pytestmark = pytest.mark.extra
DOCKERFILE = ROOT / "Dockerfile"
OF_AN_IMAGE = {"useradd", "install"}
FOLDERS = re.compile(r"(?<![\w./])/(opt|src|scratch)\b")
SECRET = re.compile(r"secret|password|token|credential|access_key", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction of the Dockerfile."""

    word: str
    text: str

    @property
    def arguments(self) -> list[str]:
        return [one for one in shlex.split(self.text) if not one.startswith("--")]

    @property
    def commands(self) -> list[list[str]]:
        return [shlex.split(one) for one in self.text.split("&&")]

    def flag(self, name: str) -> str | None:
        found = re.search(rf"--{name}=(\S+)", self.text)
        return found and found[1]


@dataclass
class Image:
    """What the steps so far have made: a root, and settings."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    folder: str = "/"

    def local(self, text: str) -> str:
        return FOLDERS.sub(lambda match: f"{self.root}{match[0]}", text)

    def variables(self) -> dict[str, str]:
        base = self.root / "usr/local/bin"
        given = {name: self.local(value).replace("$PATH", str(base)) for name, value in self.environment.items()}
        passed_on = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        return {"PATH": f"{base}:/usr/bin:/bin"} | passed_on | given

    def run(self, words: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        place = folder or Path(self.local(self.folder))
        found = shutil.which(words[0], path=self.variables()["PATH"])
        assert found and str(self.root) in found, f"{words[0]} is not of the image"
        return subprocess.run(
            [found, *map(self.local, words[1:])], cwd=place, env=self.variables(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip


def steps() -> list[Step]:
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [Step(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def the(word: str) -> Step:
    """The one instruction of its kind."""
    (found,) = (step for step in steps() if step.word == word)
    return found


def context() -> list[str]:
    """Files that `.dockerignore` lets through: of its lines the last that fits a path, or a folder above it, counts."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file()]
    return sorted(name for name in names if not is_ignored(name, rules))


def is_ignored(name: str, rules: list[str]) -> bool:
    parts = name.split("/")
    above = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    ignored = False
    for rule in rules:
        pattern = rule.removeprefix("!")
        anywhere = pattern.startswith("**/")
        fits = any(
            fnmatch.fnmatchcase(one.rpartition("/")[2], pattern[3:]) if anywhere else fnmatch.fnmatchcase(one, pattern)
            for one in above
            if anywhere or one.count("/") == pattern.count("/")
        )
        if fits:
            ignored = not rule.startswith("!")
    return ignored


def copy(step: Step, image: Image) -> None:
    *sources, target = step.arguments
    if step.flag("from"):
        assert sources == [target] and Path(image.local(target)).is_dir(), "an environment works where it was made"
        return
    assert sources == ["."]
    for name in context():
        place = Path(image.local(image.folder), target, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place)


def run(step: Step, image: Image) -> None:
    if {command[0] for command in step.commands} == OF_AN_IMAGE:
        Path(image.local("/scratch")).mkdir()
        return
    for command in step.commands:
        done = image.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    made = Image(tmp_path_factory.mktemp("image"))
    for step in steps():
        if step.word == "FROM":
            kept = [one.arguments[-1] for one in steps() if one.word == "COPY" and one.flag("from")]
            for path in list(made.root.iterdir()):
                if not any(name.startswith(f"/{path.name}/") for name in kept):
                    shutil.rmtree(path)
            made = Image(made.root)
            subprocess.run([sys.executable, "-m", "venv", str(made.root / "usr/local")], check=True)
        elif step.word == "WORKDIR":
            made.folder = step.text
            Path(made.local(step.text)).mkdir(parents=True, exist_ok=True)
        elif step.word == "ENV":
            made.environment |= dict(one.split("=", 1) for one in shlex.split(step.text))
        elif step.word == "COPY":
            copy(step, made)
        elif step.word == "RUN":
            run(step, made)
    return made


def entry(image: Image, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return image.run([*json.loads(the("ENTRYPOINT").text), *arguments], folder)


def test_rules_of_what_is_left_out() -> None:
    rules = ["*", "!lake", "!a.md", "**/__pycache__", "**/.*"]
    given = [
        "lake/a.py",
        "lake/b/c.py",
        "a.md",
        "b.md",
        "x/a.md",
        "lake/__pycache__/a.pyc",
        "lake/.env",
        ".env",
        "dist/a",
    ]
    assert [name for name in given if not is_ignored(name, rules)] == ["lake/a.py", "lake/b/c.py", "a.md"]


def test_what_the_image_is_made_of() -> None:
    """Every package that is installed, and what the build reads; nothing of tests, settings or what was built here."""
    names = context()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {one.rstrip("*") for one in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert {name.partition("/")[0] for name in names} == {
        *packages,
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
    }
    assert not [name for name in names if "__pycache__" in name or "/." in name or name.startswith(".")]


def test_settings() -> None:
    words = [step.word for step in steps()]
    assert words[0] == "ARG" and re.fullmatch(r"PYTHON_TAG=3\.1[1-4]-slim-\w+", the("ARG").text)
    assert all("${PYTHON_TAG}" in step.text for step in steps() if step.word == "FROM")
    assert the("USER").text == "10001:10001" and words.index("VOLUME") > max(
        n for n, w in enumerate(words) if w == "RUN"
    )
    assert json.loads(the("VOLUME").text) == ["/scratch"]
    environment = dict(one.split("=", 1) for one in shlex.split(the("ENV").text))
    assert (
        environment["TMPDIR"]
        == environment["HOME"]
        == "/scratch"
        == [s for s in steps() if s.word == "WORKDIR"][-1].text
    )
    assert environment["PYTHONDONTWRITEBYTECODE"] == environment["PYTHONUNBUFFERED"] == "1"
    assert not [step for step in steps() if step.word in ("ENV", "ARG", "LABEL") and SECRET.search(step.text)]
    assert not [step for step in steps() if step.word == "RUN" and re.search(r"apt|curl|wget|sudo", step.text)]


def test_nothing_is_left_that_builds(image: Image) -> None:
    assert not (image.root / "src").exists()
    for python in ("usr/local/bin/python", "opt/dynalake/bin/python"):
        names = ("pip", "setuptools", "moto", "pytest", "mypy")
        code = f"import importlib.util as of; print([n for n in {names} if of.find_spec(n)])"
        done = subprocess.run(
            [image.root / python, "-I", "-c", code], cwd=image.root, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]", python


def test_the_versions_are_those_of_the_constraints(image: Image) -> None:
    pins = set((ROOT / "constraints.txt").read_text().split())
    code = "import importlib.metadata as m; print(*(f'{d.name.lower()}=={d.version}' for d in m.distributions()))"
    done = image.run(["python", "-I", "-c", code])
    found = {one.replace("_", "-") for one in done.stdout.split()} - {"dynalake==0.1.0"}
    assert len(found) > 20 and found <= pins


def raw_objects() -> list[standin.FirehoseObject]:
    """What Firehose leaves of twenty changes of as many items."""
    table = standin.Table("orders")
    for n in range(20):
        table.put({"pk": {"S": f"c{n % 3}"}, "sk": {"S": f"o{n}"}, "total": {"N": f"{n}.5"}}, START_US + n)
    return list(standin.firehose_objects(standin.kds_records(table, seed=1), seed=1))


def test_the_jobs_run(image: Image, tmp_path: Path) -> None:
    """From elsewhere, with the image's own environment and nothing else."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    lake = tmp_path / "lake"
    done = entry(image, elsewhere, *json.loads(the("CMD").text))
    assert done.returncode == 0 and "compact" in done.stdout, done.stderr
    image.environment["DYNALAKE_LAKE"] = str(lake)
    for arguments in (["init"], ["add-table", "orders", "--hash-key", "pk:S", "--range-key", "sk:S"]):
        done = entry(image, elsewhere, *arguments)
        assert done.returncode == 0, done.stderr
    for one in raw_objects():
        path = lake / "raw" / one.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.body)
    done = entry(image, elsewhere, "compact", "orders", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["changes"] == 20
    done = entry(image, elsewhere, "refresh", "orders")
    assert done.returncode == 0, done.stderr
    done = entry(image, elsewhere, "sql", "SELECT count(*) AS items FROM orders", "--format", "csv")
    assert done.returncode == 0 and done.stdout.split() == ["items", "20"], done.stderr
    done = entry(image, elsewhere, "size", "--writes-per-second", "9")  # which reads a file that is no module
    assert done.returncode == 0 and "us-east-1" in done.stdout, done.stderr
    assert list(elsewhere.iterdir()) == [], "a job writes to its scratch and its lake alone"
