"""The command `python -m benchmarks`: what it prints, writes and refuses."""

import re

import pytest

from benchmarks import __main__ as benchmark
from benchmarks.measure import Table
from pipelines.console.command import command


@pytest.fixture
def stub(monkeypatch, tmp_path):
    """Replace all sections by one that measures nothing, and go to an empty folder."""

    def first(pace):
        """What it shows."""
        yield Table("T", ["name", "x"], [["quick" if pace.quick else "full", "1"]])

    monkeypatch.setattr(benchmark, "SECTIONS", {"first": first, "second": first})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_prints_what_it_writes(stub, capsys):
    benchmark.main(["second", "--quick", "--out", "sub/page.md"])
    text = (stub / "sub/page.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == text
    assert re.findall(r"^## (.*)$", text, re.M) == ["second"]
    assert "| quick |" in text
    assert re.search(r"\d+ CPUs.*PyTorch threads", text)
    assert str(stub) not in text


def test_all_sections_run_by_default_and_nothing_is_written(stub, capsys):
    benchmark.main([])
    assert re.findall(r"^## (.*)$", capsys.readouterr().out, re.M) == ["first", "second"]
    assert list(stub.iterdir()) == []


def test_write_puts_the_page_among_the_results(stub, capsys):
    benchmark.main(["first", "--write"])
    assert (stub / "docs/results/benchmark.md").read_text(encoding="utf-8") == capsys.readouterr().out


def test_write_keeps_the_sections_that_were_not_measured(stub):
    page = stub / "docs/results/benchmark.md"
    benchmark.main(["second", "--write", "--quick"])
    before = page.read_text(encoding="utf-8")
    benchmark.main(["first", "--write"])
    both = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", both, re.M) == ["first", "second"]
    assert both.endswith(before.removeprefix(benchmark.INTRODUCTION))
    benchmark.main(["second", "--write"])
    after = page.read_text(encoding="utf-8")
    assert ("| quick |" in both, "| quick |" in after) == (True, False)
    assert re.findall(r"^## (.*)$", after, re.M) == ["first", "second"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["frist"], "there is no section 'frist'; there are first, second"),
        (["--slow"], "unrecognized arguments: --slow; see --help"),
        (["first", "--out", "."], "--out: . is a folder; name a file"),
        (["--out", "x.md", "--write"], "argument --write: not allowed with argument --out; see --help"),
    ],
)
def test_bad_input_is_one_sentence(stub, capsys, words, sentence):
    with pytest.raises(SystemExit) as stopped, command():
        benchmark.main(words)
    assert stopped.value.code == 2
    output = capsys.readouterr()
    assert output.err == f"error: {sentence}\n"
    assert output.out == ""
