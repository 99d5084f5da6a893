"""What fuzzing finds, planted: a crash, an example that does not end, one that takes too much."""

from __future__ import annotations

import time

import fuzzing
import pytest
from fuzz_mutations import mutated_bytes, mutated_texts
from fuzzing import HangError, Target, run_round
from hypothesis import strategies as st

import fuzz_main


def crash(text: str) -> str:
    if "é" in text:
        raise KeyError(text)
    return "fine"


def hang(text: str) -> str:
    while "a" in text:
        time.perf_counter()
    return "fine"


def burn(text: str) -> str:
    began = time.process_time()
    while len(text) > 2 and time.process_time() - began < 0.05:
        pass
    return "fine"


def swell(text: str) -> str:
    return "fine" if len(text) < 3 else str(len(bytearray(b"x") * (64 << 20)))


def test_a_crash_is_found_and_shrunk() -> None:
    target = Target("planted", mutated_texts(st.just("many words")), crash)
    with pytest.raises(KeyError) as found:
        run_round(target, 0, start=1)
    assert found.value.args[0].count("é") == 1
    assert any("é" in note for note in found.value.__notes__)


def test_a_hang_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "HANG_SECONDS", 0.05)
    with pytest.raises(HangError, match=r"no end after 0\.05 s"):
        run_round(Target("planted", st.text("ab"), hang), 0, start=1)


@pytest.mark.parametrize(
    ("check", "seconds", "words"),
    [(burn, 0.02, "s of processor time"), (swell, 5.0, "MiB of memory")],
)
def test_what_takes_too_much_is_found(check: fuzzing.Check, seconds: float, words: str) -> None:
    target = Target("planted", st.text(), check, processor_seconds=seconds, memory_mib=32)
    with pytest.raises(BaseException, match=words):
        run_round(target, 0, start=1)


def test_a_round_is_the_same_again() -> None:
    seen: list[list[bytes]] = []
    for _ in range(2):
        seen.append([])
        target = Target(
            "noted", mutated_bytes(st.just(b"payload")), lambda one: str(seen[-1].append(one))
        )
        run_round(target, 3, start=7, examples=50)
    assert seen[0] == seen[1]
    assert len(set(seen[0])) > 20


def test_what_was_found_is_told_with_the_line_that_finds_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Target("planted", mutated_texts(st.just("many words")), crash)
    monkeypatch.setitem(fuzz_main.TARGETS, "planted", (__name__, "PLANTED"))
    monkeypatch.setitem(globals(), "PLANTED", target)
    monkeypatch.setattr("sys.argv", ["fuzz", "planted", "--minutes", "0.001", "--seed", "5"])
    assert fuzz_main.main() == 1
    out = capsys.readouterr()
    assert "scripts/fuzz planted --seed 5 --round 0 --examples 500" in out.out
    assert "KeyError" in out.err
    assert "Failing test case" in out.err
