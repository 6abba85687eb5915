"""`make infra-check`: everything that can be held against infra/ without an AWS account.

For each module and example: format, init, validate, and `terraform test` with a mocked provider; of each module the
mutations that its tests must notice; wildcards in policies; and a scanner. It works in a copy, so that nothing of
terraform's is left in the tree. Exit 1 where anything failed, 0 otherwise.

A mutation (`tests/mutations.toml` of a module) puts a wrong setting where a right one is. A test that then still
passes would not keep anyone from setting it so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

INFRA = Path(__file__).parent
SCANNER = INFRA.parent / ".venv-infra" / "bin" / "checkov"
SOURCES = shutil.ignore_patterns(".terraform", ".terraform.lock.hcl", "*.tfstate*", "__pycache__")
COMMAND_SECONDS_MAX = 900  # a first init may fetch the provider, some hundred MB
PROVIDER = "*/hashicorp/aws/5.*"  # below a folder of plugins: <host of a registry>/…/<version>
# What a test says that has noticed something. Whatever else fails is a mutation that is no working configuration.
NOTICED = {
    "Test assertion failed", "Missing expected failure", "Invalid value for variable", "Resource precondition failed",
    "Resource postcondition failed", "Module output value precondition failed", "Check block assertion failed",
}  # fmt: skip
# An example is planned as it stands: validate does not see values that the provider refuses. Not applied, for what may
# not be destroyed could not be cleaned up.
EXAMPLE_TEST = """{
  "mock_provider": {"aws": {"source": "../../mocks", "override_during": "plan"}},
  "run": {"plans": {"command": "plan"}}
}"""
PROBE = '{"terraform": {"required_providers": {"aws": {"source": "hashicorp/aws", "version": "~> 5.100"}}}}'


class Failed(Exception):
    """A check that failed; the text says of what."""


class NotFound(Exception):
    """Terraform or the provider of AWS is not there."""


@dataclass(frozen=True)
class Mutation:
    """A wrong setting: `find` in `file`, `count` times in it, becomes `replace`; `why` says what is lost by it.

    `test` names the one file of tests to run, to save time: the one that notices it.
    """

    file: str
    find: str
    replace: str
    why: str
    count: int = 1
    test: str = ""

    def __str__(self) -> str:
        return f"{self.find!r} → {self.replace!r} in {self.file}: {self.why}"


@dataclass(frozen=True)
class Terraform:
    """The program, and the folder of plugins that holds the provider."""

    program: str
    plugins: Path

    def run(self, folder: Path, *arguments: str) -> str:
        """What it printed. Raises Failed with all it said where it did not end well."""
        done = run([self.program, *arguments], folder)
        if done.returncode:
            raise Failed(said(done))
        return done.stdout


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command that can reach no AWS account. Raises Failed where it does not end in time."""
    left_out = ("AWS_", "TF_CLI_ARGS", "TF_VAR", "TF_DATA_DIR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    settings = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "AWS_EC2_METADATA_DISABLED": "true"}
    try:
        return subprocess.run(
            command, cwd=folder, env=kept | settings, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=COMMAND_SECONDS_MAX,
        )  # fmt: skip
    except subprocess.TimeoutExpired as fault:
        raise Failed(f"{' '.join(command)}: did not end within {COMMAND_SECONDS_MAX} s") from fault


def said(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"


def find_terraform(scratch: Path) -> Terraform:
    """Terraform with a provider, from this machine or by an ordinary init. Raises NotFound."""
    program = shutil.which("terraform")
    if program is None:
        raise NotFound("terraform is not on the PATH")
    if named := os.environ.get("TF_PLUGIN_DIR"):
        if not list(Path(named).glob(PROVIDER)):
            raise NotFound(f"TF_PLUGIN_DIR is {named}, and there is no {PROVIDER} in it")
        return Terraform(program, Path(named))
    found = next(plugin_folders(), None)
    if found is not None:
        return Terraform(program, found)
    probe = scratch / "probe"
    probe.mkdir()
    (probe / "main.tf.json").write_text(PROBE)
    done = run([program, "init", "-no-color", "-input=false"], probe)
    if done.returncode:
        raise NotFound(f"the provider hashicorp/aws 5.x is not on this machine, and terraform init says: {said(done)}")
    return Terraform(program, probe / ".terraform" / "providers")


def plugin_folders() -> Iterator[Path]:
    """Folders that hold the provider, of the usual places and of the folders in them."""
    home = Path.home()
    data = os.environ.get("XDG_DATA_HOME") or str(home / ".local/share")
    shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    places = [home / ".terraform.d", *(Path(base) / "terraform" for base in (data, *shared.split(":"))), Path("/opt")]
    for place in places:
        for pattern in (PROVIDER, f"*/{PROVIDER}"):
            for found in sorted(place.glob(pattern), reverse=True):
                yield found.parents[3]


def units_of(infra: Path, module: str | None = None) -> list[Path]:
    """The modules and examples, or the one module and the example of its name. Raises Failed where there is none."""
    found = [unit for kind in ("modules", "examples") for unit in sorted((infra / kind).glob("*")) if unit.is_dir()]
    chosen = [unit for unit in found if module in (None, unit.name)]
    if not chosen:
        raise Failed(f"{infra}: no module{'' if module is None else ' ' + module} in modules/ or examples/")
    return chosen


def name_of(unit: Path) -> str:
    return f"{unit.parent.name}/{unit.name}"


def is_example(unit: Path) -> bool:
    return unit.parent.name == "examples"


def mutations_of(unit: Path) -> list[Mutation]:
    """The mutations of a module, each found where it says. Raises Failed."""
    path = unit / "tests" / "mutations.toml"
    if not path.is_file():
        raise Failed(f"{path.name}: a module needs one, in tests/")
    try:
        entries = tomllib.loads(path.read_text()).get("mutation", [])
    except tomllib.TOMLDecodeError as fault:
        raise Failed(f"{path.name}: {fault}") from fault
    if not entries:
        raise Failed(f"{path.name}: holds no [[mutation]]")
    found = []
    for number, entry in enumerate(entries, start=1):
        try:
            mutation = Mutation(**entry)
        except TypeError as fault:
            raise Failed(f"mutation {number}: {fault}") from fault
        mutated(unit, mutation)
        found.append(mutation)
    return found


def mutated(unit: Path, mutation: Mutation) -> str:
    """The text of the file with the wrong setting in it. Raises Failed where it is not found as often as it says."""
    path = unit / mutation.file
    if not path.is_file():
        raise Failed(f"mutation of {mutation.file}: no such file")
    if mutation.test and not (unit / mutation.test).is_file():
        raise Failed(f"mutation of {mutation.file}: no {mutation.test}")
    text = path.read_text()
    found = text.count(mutation.find)
    if found != mutation.count:
        raise Failed(f"mutation of {mutation.file}: {mutation.find!r} is there {found} times, not {mutation.count}")
    if mutation.find == mutation.replace:
        raise Failed(f"mutation of {mutation.file}: {mutation.find!r} is replaced by itself")
    return text.replace(mutation.find, mutation.replace)


def errors_of(terraform: Terraform, unit: Path, file: str = "") -> list[dict[str, Any]]:
    """The errors that `terraform test` told of; none where all passed. Raises Failed where nothing was tested."""
    done = run([terraform.program, "test", "-json", *([f"-filter={file}"] if file else [])], unit)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    told = [line["diagnostic"] for line in lines if line.get("type") == "diagnostic"]
    errors = [diagnostic for diagnostic in told if diagnostic["severity"] == "error"]
    if done.returncode:
        return errors or [{"summary": said(done), "detail": ""}]
    if not sum(line["test_summary"]["passed"] for line in lines if line.get("type") == "test_summary"):
        raise Failed("no test was run: it needs tests/*.tftest.hcl with a run in it")
    return []


def check_tests(terraform: Terraform, unit: Path) -> None:
    if is_example(unit) and not list(unit.glob("tests/*.tftest.hcl")):
        (unit / "tests").mkdir(exist_ok=True)
        (unit / "tests" / "plans.tftest.json").write_text(EXAMPLE_TEST)
    if errors := errors_of(terraform, unit):
        raise Failed("\n".join(told(error) for error in errors))


def told(error: dict[str, Any]) -> str:
    place = error.get("range")
    where = f"{place['filename']}:{place['start']['line']}: " if place and place["start"]["line"] else ""
    return f"{where}{error['summary']}: {error.get('detail', '')}".rstrip(": \n")


def check_mutation(terraform: Terraform, unit: Path, mutation: Mutation, scratch: Path) -> None:
    """Raises Failed unless a test of the module notices the mutation. The module is initialised already."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        copy = Path(folder) / "infra"
        infra = unit.parent.parent
        shutil.copytree(infra, copy, ignore=SOURCES)
        shutil.copytree(unit, copy / unit.relative_to(infra), symlinks=True, dirs_exist_ok=True)
        module = copy / unit.relative_to(infra)
        (module / mutation.file).write_text(mutated(module, mutation))
        errors = errors_of(terraform, module, mutation.test)
    if not errors:
        raise Failed(f"no test notices {mutation}")
    if not any(is_notice(error) for error in errors):
        problem = f"it fails, but by no assertion or validation: {mutation}"
        raise Failed("\n".join([problem, *(told(error) for error in errors)]))


def is_notice(error: dict[str, Any]) -> bool:
    """Whether it is a test that failed: an assertion, also one that cannot be evaluated any more, or a validation."""
    place = error.get("range")
    return error["summary"] in NOTICED or (place is not None and place["filename"].endswith(".tftest.hcl"))


DENIAL = re.compile(r'\{[^{}]*\bEffect"?\s*[=:]\s*"Deny"[^{}]*')
WILDCARDS = [
    re.compile(r'"[a-z0-9-]+:[A-Za-z]*\*[A-Za-z*]*"'),  # "s3:*", "s3:Get*"
    re.compile(r'(?i)\bactions?"?\s*[=:]\s*(\[[^\]]*)?"\*"'),
    re.compile(r"(?i)\bnot_?actions?\b"),  # allows whatever AWS adds
]


def check_wildcards(unit: Path) -> None:
    """Raises Failed where a policy allows actions that it does not name. A denial may be of all there is."""
    found = []
    for path in sorted(unit.glob("*.tf")):
        text = re.sub(r"(?m)^\s*(#|//).*$", "", path.read_text())
        text = DENIAL.sub(lambda at: "\n" * at[0].count("\n"), text)
        for pattern in WILDCARDS:
            places = [(text[: at.start()].count("\n") + 1, at[0]) for at in pattern.finditer(text)]
            found += [f"{path.name}:{line}: {action!r}" for line, action in places]
    if found:
        raise Failed("\n".join(["actions must be named one by one:", *found]))


def scan(scanner: str, folder: Path) -> None:
    """Raises Failed with what the scanner finds."""
    if shutil.which(scanner) is None:
        raise Failed(f"no scanner at {scanner}: `make infra-check` installs it, --no-scan goes without")
    command = [scanner, "-d", str(folder), "--framework", "terraform", "--quiet", "--compact", "--skip-download"]
    done = run(command, folder)
    if done.returncode:
        raise Failed(said(done))


class Checks:
    """Runs checks and prints a line for each; keeps what failed."""

    def __init__(self) -> None:
        self.failures: list[tuple[str, str]] = []
        self.done = 0

    def run(self, name: str, check: Callable[[], object]) -> bool:
        """Whether it passed."""
        started = time.monotonic()
        try:
            check()
            problem = None
        except Failed as fault:
            problem = str(fault)
            self.failures.append((name, problem))
        self.done += 1
        print(f"{'ok    ' if problem is None else 'FAILED'} {name} ({time.monotonic() - started:.1f} s)", flush=True)
        return problem is None

    def report(self) -> int:
        """Tells what failed; the exit code."""
        for name, problem in self.failures:
            print(f"\n{name}\n" + "\n".join(f"  {line}" for line in problem.splitlines()[:60]))
        print(f"\n{self.done} checks, {len(self.failures)} failed")
        return 1 if self.failures else 0


def check_static(checks: Checks, units: list[Path]) -> list[tuple[Path, Mutation]]:
    """What needs no terraform; gives the mutations of all modules."""
    found: list[tuple[Path, Mutation]] = []

    def find_mutations(unit: Path) -> None:
        found.extend((unit, mutation) for mutation in mutations_of(unit))

    for unit in units:
        checks.run(f"{name_of(unit)}: actions are named", partial(check_wildcards, unit))
        if not is_example(unit):
            checks.run(f"{name_of(unit)}: mutations are found", partial(find_mutations, unit))
    return found


def check_unit(checks: Checks, terraform: Terraform, unit: Path) -> bool:
    """Init, validate, test; whether all passed."""
    name = name_of(unit)
    init = ("init", "-backend=false", f"-plugin-dir={terraform.plugins}", "-no-color", "-input=false")
    return (
        checks.run(f"{name}: init", partial(terraform.run, unit, *init))
        and checks.run(f"{name}: validate", partial(terraform.run, unit, "validate", "-no-color"))
        and checks.run(f"{name}: test", partial(check_tests, terraform, unit))
    )


def check_terraform(
    checks: Checks, terraform: Terraform, units: list[Path], mutations: list[tuple[Path, Mutation]], jobs: int
) -> None:
    """What needs terraform. Mutations are tried only of modules whose tests pass."""
    infra = units[0].parent.parent
    checks.run("format", partial(terraform.run, infra, "fmt", "-check", "-recursive", "-diff", "-no-color"))

    def check_one(chosen: tuple[Path, Mutation]) -> None:
        unit, mutation = chosen
        name = f"{name_of(unit)}: noticed: {mutation.why}"
        checks.run(name, partial(check_mutation, terraform, unit, mutation, infra.parent))

    with ThreadPoolExecutor(jobs) as pool:
        passed = dict(zip(units, pool.map(partial(check_unit, checks, terraform), units), strict=True))
        for _ in pool.map(check_one, [chosen for chosen in mutations if passed[chosen[0]]]):
            pass


def share_of(mutations: list[tuple[Path, Mutation]], share: int | None, seed: str) -> list[tuple[Path, Mutation]]:
    """All of them, or so many: the same ones for the same seed."""
    if share is None or share >= len(mutations):
        return mutations
    print(f"{share} of {len(mutations)} mutations, by --seed {seed}")
    return random.Random(seed).sample(mutations, share)


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="infra/check.py", description="Checks infra/ without an AWS account.")
    parser.add_argument("--module", help="only this module, and the example of its name")
    parser.add_argument("--share", type=int, help="at most so many mutations, other ones every day")
    parser.add_argument("--seed", default=f"{datetime.now(UTC):%Y-%m-%d}", help="which ones; today's date unless told")
    parser.add_argument("--no-scan", action="store_true", help="without the scanner")
    parser.add_argument("--scanner", default=str(SCANNER), help="checkov, where it is not in .venv-infra")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--if-found", action="store_true", help="no fault where terraform is missing")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str], infra: Path = INFRA) -> int:
    """The exit code."""
    options = options_of(arguments)
    checks = Checks()
    with tempfile.TemporaryDirectory(prefix="infra-check-") as folder:
        scratch = Path(folder)
        copy = Path(shutil.copytree(infra, scratch / "infra", ignore=SOURCES))
        try:
            units = units_of(copy, options.module)
            mutations = check_static(checks, units)
            if not options.no_scan:
                for unit in units if options.module else [copy]:
                    name = name_of(unit) if options.module else "infra"
                    checks.run(f"{name}: scan", partial(scan, options.scanner, unit))
            chosen = share_of(mutations, options.share, options.seed)
            check_terraform(checks, find_terraform(scratch), units, chosen, options.jobs)
        except Failed as fault:
            checks.failures.append(("infra", str(fault)))
        except NotFound as fault:
            if not options.if_found:
                remedy = "install it, or name a folder of plugins in TF_PLUGIN_DIR"
                checks.failures.append(("terraform", f"{fault}; {remedy}"))
            else:
                print(f"\nskipped: format, init, validate, test and mutations, for {fault}")
        return checks.report()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
