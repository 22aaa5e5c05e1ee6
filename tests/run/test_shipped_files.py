"""Configurations and examples that ship: by name, listed, copied out with what they need."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from estimhank.cli import app
from estimhank.model.registry import find_model
from estimhank.run.config import find_config, load_config
from estimhank.run.global_config import load_global_config
from estimhank.run.shipped_files import copy_out
from estimhank.support import shipped
from estimhank.support.errors import ConfigError

ROOT = Path(__file__).parents[2]
CONFIGS, EXAMPLES = (sorted(path.stem for path in (ROOT / name).glob("*.toml")) for name in ("configs", "examples"))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shipped_configuration_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()  # a folder of that name is not meant
    if name == "krusell_smith_global":
        assert load_global_config(name)[0] == load_global_config(f"configs/{name}.toml")[0]
        with pytest.raises(ConfigError, match="use `estimhank global`"):
            load_config(name)
        return
    assert load_config(name, "smoke").digest() == load_config(f"configs/{name}.toml", "smoke").digest()
    (tmp_path / f"{name}.toml").write_text("[run]\nseed = 7\n")
    assert load_config(f"{name}.toml").run.seed == 7, "a file of one's own comes first"


def test_a_name_that_does_not_ship() -> None:
    with pytest.raises(
        ConfigError, match=r"no configuration file us_hnk; did you mean 'us_hank'\? \(these ship: .*us_"
    ):
        find_config("us_hnk")


def test_all_are_listed() -> None:
    done = CliRunner().invoke(app, ["examples"])
    names = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert done.exit_code == 0 and names == CONFIGS + EXAMPLES
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in done.stdout.splitlines() if line.startswith("  "))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] * (n == "toolkit_one_asset")) for n in CONFIGS + EXAMPLES]
)
def test_a_copy_is_whole_and_its_model_can_be_loaded(name: str, tmp_path: Path) -> None:
    pytest.importorskip("sequence_jacobian") if name == "toolkit_one_asset" else None
    copied = copy_out(name, tmp_path / "mine")
    assert copied.files[0].name == f"{name}.toml"
    for path in copied.files:
        origin = next(ROOT / kind / path.name for kind in ("configs", "examples") if (ROOT / kind / path.name).exists())
        assert path.read_bytes() == origin.read_bytes()
    if "[economy]" in copied.files[0].read_text():
        path = load_global_config(copied.files[0])[1]
        assert path.parent == tmp_path / "mine"
        assert (tmp_path / "mine" / f"{name}.py").is_file() == (name != "krusell_smith_global")
    else:
        find_model(load_config(copied.files[0]).model.name, tmp_path / "mine")
    assert set(copied.absent) <= {"sw07_data.csv", "herbst_schorfheide.csv"}
    with pytest.raises(ConfigError, match="is there already: nothing was copied"):
        copy_out(name, tmp_path / "mine")


def test_a_copy_on_the_command_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["examples", "smets_wouters_2007", "--to", str(tmp_path / "sw")])
    assert done.exit_code == 0 and "note: sw07_data.csv does not ship" in done.stdout
    assert sorted(path.name for path in (tmp_path / "sw").iterdir()) == [
        "smets_wouters_2007.py",
        "smets_wouters_2007.toml",
    ]
    with pytest.raises(ConfigError, match="did you mean 'nominal_bonds'"):
        copy_out("nominal_bond", tmp_path)


def test_modules_that_a_model_imports_from_beside_it_are_copied_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / "a.toml").write_text('# One.\n[model]\nname = "a.py:A"\n')
    (folder / "a.py").write_text("from b import x\nimport numpy\n")
    (folder / "b.py").write_text("import c\nimport a\nx = 1\n")
    (folder / "c.py").write_text("")
    (folder / "d.py").write_text("")
    monkeypatch.setattr(shipped, "_PLACES", (tmp_path,))
    copied = copy_out("a", tmp_path / "out")
    assert [path.name for path in copied.files] == ["a.toml", "a.py", "b.py", "c.py"]
