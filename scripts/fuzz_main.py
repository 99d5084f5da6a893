"""``scripts/fuzz``: runs targets for minutes, and says how to see again what it found."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import traceback
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "tests" / "fuzz"
sys.path.append(str(FOLDER))

# It is there only now.
from fuzzing import ROUND_EXAMPLES, WORLDS, HangError, Target, run_round  # noqa: E402

TARGETS = {
    "parser": ("fuzz_commands", "PARSER"),
    "commands": ("fuzz_commands", "COMMANDS_RUN"),
    "formats": ("fuzz_formats", "STREAMED"),
    "files": ("fuzz_formats", "FILES"),
    "rest": ("fuzz_rest", "REST"),
    "socket": ("fuzz_node", "over_socket"),
    "kql": ("fuzz_node", "kql"),
    "native": ("fuzz_calls", "NATIVE"),
}
"""What can be fuzzed, and where it is: only what is asked for is imported.

A function gives a context manager: a target that needs processes.
"""


def main() -> int:
    """Exit code 0: nothing was found."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=10, help="for each target (default 10)")
    parser.add_argument("--seed", type=int, default=1, help="what the examples follow from")
    parser.add_argument("--round", type=int, help="this round alone, to see again what it found")
    parser.add_argument("--examples", type=int, default=ROUND_EXAMPLES, help="in a round")
    options = parser.parse_args()
    unknown = [name for name in options.targets if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]!r}; there are {', '.join(TARGETS)}")
    sys.path += [str(folder) for folder in WORLDS if str(folder) not in sys.path]
    found = [name for name in options.targets or TARGETS if not fuzz(name, options)]
    if found:
        print(f"found something in: {', '.join(found)}")
    return 1 if found else 0


def fuzz(name: str, options: argparse.Namespace) -> bool:
    """One target, for its minutes. False: something was found, and told."""
    module, attribute = TARGETS[name]
    found = getattr(import_module(module), attribute)
    with nullcontext(found) if isinstance(found, Target) else found() as target:
        return rounds(name, target, options)


def rounds(name: str, target: Target, options: argparse.Namespace) -> bool:
    """Round after round. False: something was found, and told."""
    began = time.monotonic()
    number = 0 if options.round is None else options.round
    while True:
        try:
            run_round(target, number, start=options.seed, examples=options.examples)
        except (Exception, HangError):
            traceback.print_exc()
            print(
                f"\n{name}: found in round {number}. See it again with:\n"
                f"  scripts/fuzz {name} --seed {options.seed} --round {number} "
                f"--examples {options.examples}"
            )
            return False
        number += 1
        took = time.monotonic() - began
        if options.round is not None or took >= 60 * options.minutes:
            break
    total = target.outcomes.total()
    print(f"{name}: {total} examples in {took:.0f} s, {total / took:.0f}/s, nothing found")
    for outcome, count in target.outcomes.most_common():
        print(f"  {outcome:40} {count:8} {count / total:7.1%}")
    return True


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    raise SystemExit(main())
