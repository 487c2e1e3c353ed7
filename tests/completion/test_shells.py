"""The shells' functions: bash's is driven for real; all keep to the contract of ``trainkit --complete``."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainkit.cli import COMMANDS
from trainkit.completion import SHELLS, script
from trainkit.errors import ConfigError

Cli = Callable[..., Any]
DRIVEN = """
. "$1"
COMP_LINE="$2"; COMP_POINT=${3:-${#2}}; COMP_WORDS=("${2%% *}"); COMP_CWORD=1
_trainkit
printf '<%s>\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def press_tab(tmp_path: Path) -> Callable[..., list[str]]:
    """``press_tab("trainkit fit mod")`` gives what bash puts in the place of the part of the word that it looks at."""
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "trainkit"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m trainkit.cli "$@"\n')
    program.chmod(0o755)
    function = tmp_path / "trainkit.bash"
    function.write_text(script("bash"))
    place = tmp_path / "place"
    place.mkdir()

    def press(line: str, point: int | None = None, breaks: str | None = None) -> list[str]:
        code = (f"COMP_WORDBREAKS='{breaks}'\n" if breaks is not None else "") + DRIVEN
        command = [
            "bash",
            "--norc",
            "-c",
            code,
            "bash",
            str(function),
            line,
            *([str(point)] if point is not None else []),
        ]
        environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stderr == ""
        return [answer for answer in re.findall("<(.*)>", done.stdout) if answer]

    return press


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("trainkit ", [f"{name} " for name in COMMANDS]),
        ("trainkit fi", ["fit "]),
        ("trainkit fit trainer.max_ep", ["trainer.max_epochs="]),
        ("trainkit fit model=c", ["cnn ", "cnn1d ", "custom "]),
        ("trainkit fit   seed=1  model=mlp,c", ["mlp,cnn ", "mlp,cnn1d ", "mlp,custom "]),
        ("trainkit fit model=cnn model.wi", ["model.width="]),
        ("trainkit fit 'model=cn", ["model=cnn", "model=cnn1d"]),
        ("trainkit fit model=nothing", []),
    ],
)
def test_bash_gets_words_cut_at_its_own_breaks(
    line: str, answers: list[str], press_tab: Callable[..., list[str]]
) -> None:
    assert press_tab(line) == answers


def test_bash_without_breaks_at_equals_gets_whole_words(press_tab: Callable[..., list[str]]) -> None:
    assert press_tab("trainkit fit model=cu", breaks=" \t\n") == ["model=custom "]


def test_bash_completes_at_the_cursor_not_at_the_end(press_tab: Callable[..., list[str]]) -> None:
    assert press_tab("trainkit ev runs/a", len("trainkit ev")) == ["evaluate "]


def test_bash_escapes_spaces_and_goes_on_after_directories(tmp_path: Path, press_tab: Callable[..., list[str]]) -> None:
    (tmp_path / "place" / "my data").mkdir()
    (tmp_path / "place" / "my data" / "a:b c.csv").touch()
    assert press_tab("trainkit predict run my") == ["my\\ data/"]
    assert press_tab("trainkit predict run my\\ da") == ["my\\ data/"]
    assert press_tab("trainkit predict run my\\ data/a:b") == ["b\\ c.csv "]
    assert press_tab("~/bin/trainkit predict run my") == ["my\\ data/"]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_script_asks_the_backend_and_says_how_it_is_used(shell: str, cli: Cli) -> None:
    code, text, err = cli("--completion", shell)
    assert (code, text, err) == (0, script(shell), "")
    assert "--complete" in text and "2>" in text, "asks with the words typed so far, and shows no error"
    assert text.startswith(f"# Completes trainkit in {shell}")
    assert f"trainkit --completion {shell}" in text.splitlines()[0]
    assert f"trainkit --completion {shell}" in cli("--help").stdout


def test_each_script_passes_an_empty_last_word() -> None:
    assert 'words+=("")' in script("bash") and '--complete "${words[@]' in script("bash")
    assert '"${(Q)PREFIX}"' in script("zsh") and "words[2,CURRENT-1]" in script("zsh")
    assert '$words "$current"' in script("fish") and "set -e words[1]" in script("fish")


def test_no_space_follows_a_word_that_goes_on() -> None:
    assert "*[=./,]" in script("bash") and "-o nospace" in script("bash")
    assert "compadd -S ''" in script("zsh") and "*[=./,]" in script("zsh")


def test_every_shell_at_hand_reads_its_script(tmp_path: Path) -> None:
    at_hand = [shell for shell in SHELLS if shutil.which(shell)]
    assert "bash" in at_hand
    for shell in at_hand:
        file = tmp_path / f"trainkit.{shell}"
        file.write_text(script(shell))
        done = subprocess.run([shell, "-n", str(file)], capture_output=True, text=True, env={"HOME": str(tmp_path)})
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["zhs"], "there is no completion for 'zhs'\n  where    --completion\n  expected one of bash, zsh, fish\n"
                  "  hint     did you mean 'zsh'?\n"),
        ([], "there is no completion for ''\n  where    --completion\n  expected one of bash, zsh, fish\n"),
    ],
)  # fmt: skip
def test_another_shell_is_a_mistake(cli: Cli, arguments: list[str], text: str) -> None:
    assert cli("--completion", *arguments) == (2, "", text)
    with pytest.raises(ConfigError):
        script(" ".join(arguments))
