"""Builds the zips of the Lambda functions: `dist/capture-python3.X-ARCH.zip`, as infra/modules/table takes them.

    python infra/package.py                                for this Python, for both architectures
    python infra/package.py --python 3.13 --arch arm64     for another runtime; `make package PACKAGE_PYTHON=3.13`

In a zip is what `ingest.handlers` imports, also late, and nothing else: our modules, found by following imports; the
distributions that these name, and theirs, in the versions of constraints.txt; of botocore's descriptions of services
those that our modules make clients of. The same input gives the same bytes, so that Terraform sees a change of the code
only where there is one.

AWS: "Building Lambda functions with Python" (runtimes and their systems), "Working with .zip file archives for Python
Lambda functions" (wheels for manylinux), "Lambda quotas" (50 MB zipped, 250 MB unzipped).
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from lake.errors import ConfigError, LakeError  # noqa: E402  (a script finds the packages beside it only so)

ENTRY = "ingest.handlers"
OURS = ("ingest", "lake")
NOT_WANTED = ("duckdb", "pyarrow", "pyiceberg")
ZIPPED_BYTES_MAX = 50 * 1024 * 1024
UNZIPPED_BYTES_MAX = 250 * 1024 * 1024
MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}  # Lambda's word, and that of wheels
GLIBC = {"3.11": 26, "3.12": 34, "3.13": 34, "3.14": 34}  # 2.N: Amazon Linux 2, and 2023, below Lambda's runtimes
GLIBC_MIN = 17  # of manylinux2014, the oldest that wheels are built for
DATED = (1980, 1, 1, 0, 0, 0)  # the first that a zip can say
DATA = "botocore/data/"
# Programs, stubs for type checkers, samples, what boto3.resource() reads, what zstandard is on PyPy, notes of pip.
LEFT_OUT = re.compile(
    r"(^bin/|^boto3/(data|examples)/|^zstandard/_cffi|\.pyi$|/tests?/"
    r"|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url))"
)


def traced() -> tuple[list[str], list[str]]:
    """Modules of ours that the handlers import, also late, and the names of packages of others that these import."""
    graph = grimp.build_graph(*OURS, include_external_packages=True, exclude_type_checking_imports=True)
    found = {ENTRY} | graph.find_upstream_modules(ENTRY)
    ours = {name for name in found if name.partition(".")[0] in OURS}
    parents = {name.rpartition(".")[0] for name in ours}
    others = {name.partition(".")[0] for name in found - ours} - sys.stdlib_module_names
    if heavy := others & set(NOT_WANTED):
        raise ConfigError("package", ENTRY, expected=f"nothing of {', '.join(NOT_WANTED)}", got=", ".join(heavy),
                          remedy="See what imports it: lint-imports")  # fmt: skip
    return sorted(ours | parents), sorted(others)


def source_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def services_of(modules: Sequence[str]) -> set[str]:
    """The services of which these modules make clients: what `aws_client` is given, which must be plain text."""
    services: set[str] = set()
    for module in modules:
        for node in ast.walk(ast.parse(source_of(module).read_bytes())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "aws_client":
                texts = [n.value for one in node.args[:1] for n in ast.walk(one) if isinstance(n, ast.Constant)]
                told = {text for text in texts if isinstance(text, str)}
                if not told:
                    raise ConfigError("package", f"{module}, line {node.lineno}", expected="a service by its name",
                                      got=ast.unparse(node))  # fmt: skip
                services |= told
    return services


def requirements_of(packages: Sequence[str]) -> list[str]:
    """Distributions with the versions that constraints.txt pins. What these need in turn, pip finds."""
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    distributions = metadata.packages_distributions()
    wanted = {name.lower().replace("_", "-") for package in packages for name in distributions.get(package, [package])}
    if unknown := wanted - pins.keys():
        raise ConfigError("package", ", ".join(sorted(unknown)), expected="a version in constraints.txt", got="none")
    return [f"{name}=={pins[name]}" for name in sorted(wanted)]


def install(requirements: Sequence[str], python: str, arch: str, folder: Path) -> None:
    """Unpacks wheels for Lambda's system, whatever this machine is. Raises LakeError for want of one."""
    machine = MACHINES[arch]
    systems = [f"manylinux_2_{n}" for n in range(GLIBC[python], GLIBC_MIN - 1, -1)] + ["manylinux2014"]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check",
               "--target", str(folder), "--only-binary=:all:", "--implementation", "cp", "--python-version", python,
               "--constraint", str(ROOT / "constraints.txt"), *requirements,
               *(f"--platform={system}_{machine}" for system in systems)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        raise LakeError("package", f"python{python} on {arch}", expected=f"wheels for glibc 2.{GLIBC[python]} or older",
                        got=told[-1] if told else done.stderr[-300:],
                        remedy="Choose another PACKAGE_PYTHON, or another version in constraints.txt")  # fmt: skip


def is_wanted(name: str, services: set[str]) -> bool:
    """Whether a file of a distribution goes into the zip. What botocore has beside services is for all of them."""
    if LEFT_OUT.search(name):
        return False
    service, _, rest = name.removeprefix(DATA).partition("/")
    return not (name.startswith(DATA) and rest) or service in services


def prune(folder: Path, services: set[str]) -> None:
    if lost := sorted(service for service in services if not (folder / DATA / service).is_dir()):
        raise ConfigError("package", "botocore", expected="its description of each service", got=f"none of {lost}")
    for path in files_in(folder):
        if not is_wanted(path.relative_to(folder).as_posix(), services):
            path.unlink()


def files_in(folder: Path) -> list[Path]:
    return sorted((path for path in folder.rglob("*") if path.is_file()), key=Path.as_posix)


def precompile(folder: Path, python: str) -> bool:
    """Adds bytecode, which Lambda cannot keep for itself: its folder is read-only. False where that Python is not here.

    It goes by its source's hash, unchecked, as a zip's times would make it stale. It halves what a cold start takes
    (`python -m benchmarks.imports`); another release of the same Python reads it, and any other passes it over.
    """
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = sys.executable if python == here else shutil.which(f"python{python}")
    if interpreter is None:
        return False
    command = [interpreter, "-I", "-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash",
               "-s", str(folder), str(folder)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:  # a name without a Python behind it: half of the bytecode would be another zip each time
        for cache in folder.rglob("__pycache__"):
            shutil.rmtree(cache)
    return done.returncode == 0


def write_zip(folder: Path, path: Path) -> None:
    """By name, with one date and one mode, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as out:
            for file in files_in(folder):
                entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), DATED)
                entry.external_attr, entry.create_system = 0o100644 << 16, 3
                entry.compress_type = zipfile.ZIP_DEFLATED
                out.writestr(entry, file.read_bytes())
        check_size(path.name, temporary.stat().st_size, sum(file.stat().st_size for file in files_in(folder)))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_size(name: str, zipped: int, unzipped: int) -> None:
    if zipped > ZIPPED_BYTES_MAX or unzipped > UNZIPPED_BYTES_MAX:
        raise LakeError("package", name, expected="50 MB zipped, 250 MB unzipped at most, as Lambda takes it",
                        got=f"{zipped / 2**20:.1f} and {unzipped / 2**20:.1f} MB",
                        remedy="See which distribution has grown, and what of it is not needed")  # fmt: skip


def build(python: str, arch: str, out: Path) -> None:
    """One zip; a line tells of it."""
    modules, packages = traced()
    path = out / f"capture-python{python}-{arch}.zip"
    with tempfile.TemporaryDirectory(prefix="dynalake-package-") as scratch:
        folder = Path(scratch)
        install(requirements_of(packages), python, arch, folder)
        prune(folder, services_of(modules))
        for module in modules:
            source = source_of(module)
            target = folder / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        has_bytecode = precompile(folder, python)
        write_zip(folder, path)
    told = (
        "" if has_bytecode else f", without bytecode: no python{python} is here to make it, and cold starts take longer"
    )
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MB, {len(modules)} modules of ours{told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--python", default=here, help="version of Lambda's runtime", metavar="3.X")
    parser.add_argument("--arch", action="append", choices=list(MACHINES), help="both unless told")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    if options.python not in GLIBC:
        parser.error(f"Lambda has runtimes for {', '.join(GLIBC)}, not for {options.python}")
    try:
        for arch in options.arch or MACHINES:
            build(options.python, arch, options.out)
    except LakeError as fault:
        sys.exit(f"package: {fault}")


if __name__ == "__main__":
    main()
