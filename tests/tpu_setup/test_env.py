"""Settings are read, never run, and every mistake is told with its line."""

import pytest

from tests.tpu_setup.conftest import SETTINGS, SETUP

SHOW = 'source tpu_setup/lib.sh; load_env "$FILE"; printf "%s|" "$PROJECT" "$BUCKET"'


def read(cloud, text):
    cloud.env_file.write_text(text)
    return cloud.bash(SHOW, FILE=str(cloud.env_file))


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("PROJECT=plain", "plain"),
        ("  PROJECT=indented  ", "indented"),
        ('PROJECT="two words"', "two words"),
        ("PROJECT='two \"words\"'", 'two "words"'),
        ("PROJECT=a=b", "a=b"),
        ("PROJECT=windows\r", "windows"),
        ("PROJECT=$(touch ran)`touch ran`$HOME", "$(touch ran)`touch ran`$HOME"),
        ("# PROJECT=comment\n\nPROJECT=real", "real"),
    ],
)
def test_values(cloud, line, value):
    spaced = " " in value and "'" not in line and '"' not in line
    done = read(cloud, SETTINGS.replace("PROJECT=proj", line))
    if spaced:  # text that a shell would have run has spaces, and needs quotes
        assert done.returncode == 2
        done = read(cloud, SETTINGS.replace("PROJECT=proj", f"PROJECT='{value}'"))
    assert done.stdout == f"{value}|buck|"
    assert not (SETUP.parent / "ran").exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("PROJEKT=x", "unknown key PROJEKT. The keys are: PROJECT ZONE"),
        ("PATH=/tmp", "unknown key PATH"),
        ("PROJECT = x", "remove the spaces around ="),
        ("PROJECT= x", "remove the spaces around ="),
        ("PROJECT", "expected KEY=VALUE, found: PROJECT"),
        ("PROJECT=two words", 'write PROJECT="a value"'),
        ('PROJECT="odd', 'write PROJECT="a value"'),
        ("PROJECT='a'b'", 'write PROJECT="a value"'),
        ("PROJECT=", "PROJECT is empty"),
        ("PROJECT=x\nTPU_NAME=Big_Name", "a name is up to 40 small letters"),
        ("PROJECT=x\nCAPACITY=cheap", "it is spot, reserved or on-demand"),
    ],
)
def test_mistakes(cloud, line, words):
    rest = SETTINGS.replace("PROJECT=proj\n", "")
    done = read(cloud, f"{rest}{line}\n")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.startswith(str(cloud.env_file))
    assert done.stdout == ""


def test_the_line_is_told(cloud):
    done = read(cloud, f"{SETTINGS}# comment\n\nNOTHING=1")
    assert f"{cloud.env_file}:9: unknown key NOTHING" in done.stderr


def test_a_missing_file_says_what_to_copy(cloud):
    cloud.env_file.unlink()
    done = cloud.run("list.sh")
    assert done.returncode == 2
    assert "Copy tpu_setup/tpu.env.example" in done.stderr


def test_the_example_has_every_key(cloud):
    example = (SETUP / "tpu.env.example").read_text()
    done = cloud.bash('source tpu_setup/lib.sh; echo "${SETTINGS[@]}"')
    lines = [line for line in example.splitlines() if not line.startswith("#")]
    keys = [line.split("=")[0] for line in lines if line]
    assert keys == done.stdout.split()
    done = read(cloud, example)
    assert done.stdout == "my-project|my-bucket|"
