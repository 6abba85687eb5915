"""infra/check.py itself, beside a stand-in for terraform: what it finds, what it refuses, and what fails it."""

import os
import stat
from pathlib import Path

import pytest

from infra import check
from infra.check import Failed, Mutation, NotFound

# Of a module it reads main.tf: "broken" is no configuration, "open" is what its test notices.
TERRAFORM = r"""#!/bin/sh
echo "$PWD $*" >> "$CALLS"
case "$1" in
  fmt) exit 0 ;;
  init) case "$*" in *-plugin-dir*) exit 0 ;; *) echo "no network" >&2; exit 1 ;; esac ;;
  validate) exit 0 ;;
  test)
    if grep -q broken main.tf; then
      echo '{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Unsupported argument","detail":"broken"}}'
      exit 1
    elif grep -q 'access *= *"open"' main.tf; then
      echo '{"type":"diagnostic","diagnostic":{"severity":"error","summary":"Test assertion failed","detail":"open"}}'
      exit 1
    fi
    echo "{\"type\":\"test_summary\",\"test_summary\":{\"passed\":$(ls tests/*.tftest.* 2>/dev/null | wc -l)}}" ;;
esac
"""
MAIN = 'locals {\n  access = "closed"\n  colour = "red"\n}\n'
NOTICED = {"file": "main.tf", "find": '"closed"', "replace": '"open"', "why": "anyone reads it"}
UNNOTICED = {"file": "main.tf", "find": '"red"', "replace": '"blue"', "why": "it is ugly"}


@pytest.fixture
def infra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An infra/ with one module and its example, and a terraform that finds its provider."""
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_text(TERRAFORM)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("TF_PLUGIN_DIR", str(plugins(tmp_path / "plugins")))
    module = tmp_path / "infra" / "modules" / "gate"
    (module / "tests").mkdir(parents=True)
    (module / "main.tf").write_text(MAIN)
    (module / "tests" / "gate.tftest.hcl").write_text("")
    mutate(tmp_path / "infra", NOTICED)
    example = tmp_path / "infra" / "examples" / "gate"
    example.mkdir(parents=True)
    (example / "main.tf").write_text(MAIN)
    return tmp_path / "infra"


def plugins(folder: Path) -> Path:
    (folder / "registry.example.org" / "hashicorp" / "aws" / "5.99.0").mkdir(parents=True)
    return folder


def mutate(infra: Path, *mutations: dict[str, object]) -> None:
    lines = [
        "\n".join(["[[mutation]]", *(f"{name} = {value!r}" for name, value in entry.items())]) for entry in mutations
    ]
    (infra / "modules" / "gate" / "tests" / "mutations.toml").write_text("\n".join(lines))


def test_it_passes_and_leaves_nothing(infra: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(infra.rglob("*"))
    assert check.main(["--no-scan"], infra) == 0
    said = capsys.readouterr().out
    assert "ok     modules/gate: noticed: anyone reads it" in said
    assert "ok     examples/gate: test" in said
    assert sorted(infra.rglob("*")) == before


def test_a_mutation_that_no_test_notices_fails_it(infra: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mutate(infra, NOTICED, UNNOTICED)
    assert check.main(["--no-scan"], infra) == 1
    assert "no test notices '\"red\"'" in capsys.readouterr().out


def test_a_mutation_that_is_no_configuration_is_not_noticed(infra: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mutate(infra, {**NOTICED, "replace": "broken"})
    assert check.main(["--no-scan"], infra) == 1
    assert "by no assertion or validation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "told"),
    [({"find": '"ajar"'}, "there 0 times, not 1"), ({"find": "e"}, "there 3 times, not 1"),
     ({"test": "tests/gone.tftest.hcl"}, "no tests/gone.tftest.hcl"),
     ({"count": 2}, "there 1 times, not 2"), ({"file": "gate.tf"}, "no such file"),
     ({"replace": '"closed"'}, "replaced by itself"),
     ({"reason": "typed wrong"}, "unexpected keyword argument 'reason'")],
)  # fmt: skip
def test_a_mutation_that_cannot_be_made_fails_it(infra: Path, change: dict[str, object], told: str) -> None:
    mutate(infra, {**NOTICED, **change})
    with pytest.raises(Failed, match=told):
        check.mutations_of(infra / "modules" / "gate")


def test_a_mutation_changes_every_place_that_it_counts(infra: Path) -> None:
    text = check.mutated(infra / "modules" / "gate", Mutation("main.tf", " = ", " == ", "", count=2))
    assert text == MAIN.replace(" = ", " == ")


def test_a_module_without_tests_or_mutations_fails_it(infra: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (infra / "modules" / "gate" / "tests").iterdir():
        path.unlink()
    assert check.main(["--no-scan"], infra) == 1
    said = capsys.readouterr().out
    assert "a module needs one" in said
    assert "no test was run" in said


def test_a_failing_test_of_the_module_fails_it(infra: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (infra / "examples" / "gate" / "main.tf").write_text(MAIN.replace("closed", "open"))
    assert check.main(["--no-scan"], infra) == 1
    assert "Test assertion failed: open" in capsys.readouterr().out


@pytest.mark.parametrize(
    "policy",
    ['Action = "s3:*"', 'Action = ["s3:GetObject", "kms:Gen*"]', 'Action = "*"', 'actions = [\n  "*",\n]',
     'NotAction = ["iam:PassRole"]', '{ Action = "s3:*" }, { Effect = "Deny" }'],
)  # fmt: skip
def test_actions_that_are_not_named_fail_it(infra: Path, policy: str) -> None:
    module = infra / "modules" / "gate"
    check.check_wildcards(module)
    (module / "iam.tf").write_text(policy)
    with pytest.raises(Failed, match=r"iam\.tf:1"):
        check.check_wildcards(module)


def test_named_actions_of_any_resource_pass(infra: Path) -> None:
    module = infra / "modules" / "gate"
    (module / "iam.tf").write_text('# not "s3:*"\nAction = ["s3:GetObject"]\nResource = ["*", "arn:aws:s3:::a/*"]\n')
    (module / "deny.tf").write_text('statement = { Effect = "Deny", Principal = "*", Action = "s3:*" }\n')
    check.check_wildcards(module)


def test_a_share_is_bounded_and_the_same_for_a_seed(infra: Path) -> None:
    mutations = [(Path("a"), Mutation("f", str(n), "", "")) for n in range(50)]
    first = check.share_of(mutations, 5, "2026-11-28")
    assert len(first) == 5
    assert check.share_of(mutations, 5, "2026-11-28") == first
    assert check.share_of(mutations, 5, "2026-11-29") != first
    assert len(check.share_of(mutations, None, "2026-11-28")) == 50


def test_the_provider_is_looked_for_where_plugins_are(
    infra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_PLUGIN_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = plugins(tmp_path / ".terraform.d" / "plugins")
    assert check.find_terraform(tmp_path).plugins == found


def test_a_folder_of_plugins_without_the_provider_is_refused(
    infra: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_PLUGIN_DIR", str(tmp_path))
    with pytest.raises(NotFound, match="TF_PLUGIN_DIR"):
        check.find_terraform(tmp_path)


def test_without_the_provider_it_fails_unless_told_otherwise(
    infra: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TF_PLUGIN_DIR")
    monkeypatch.setattr(check, "plugin_folders", lambda: iter(()))
    assert check.main(["--no-scan"], infra) == 1
    assert "terraform init says: no network" in capsys.readouterr().out
    assert check.main(["--no-scan", "--if-found"], infra) == 0
    said = capsys.readouterr().out
    assert "skipped: format, init, validate, test and mutations" in said
    assert "ok     modules/gate: actions are named" in said


def test_without_the_scanner_it_fails_unless_told_otherwise(infra: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--scanner", "/nowhere/checkov"], infra) == 1
    assert "no scanner at /nowhere/checkov" in capsys.readouterr().out


def test_one_module_brings_its_example_and_no_other(infra: Path) -> None:
    (infra / "modules" / "other").mkdir()
    assert [check.name_of(unit) for unit in check.units_of(infra, "gate")] == ["modules/gate", "examples/gate"]
    with pytest.raises(Failed, match="no module missing"):
        check.units_of(infra, "missing")
