"""What the reliability suite counts, and the table that it prints for docs/reliability.md."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import settings

# 2000 calls of each of the five functions that restore.
settings.register_profile("reliability", deadline=None, max_examples=2000)

PROMISES = {
    "calls": (
        "No call crashes, changes its input, or turns finite pixels into others; what is promised "
        "of shape, dtype, `out`, order, tiles, units, lazy and chunked arrays holds",
        "generated calls of all functions that restore (Hypothesis)",
    ),
    "measures": (
        "Measured noise, defects and quality, PSFs and pictures are numbers and arrays that mean "
        "something, the same for lazy arrays and in other units, or a sentence says why not",
        "generated calls of all other functions (Hypothesis)",
    ),
    "noisier": (
        "No noise that is told, in whatever unit, makes an image noisier",
        "generated images and noise from 1 to 10^12 times their range",
    ),
    "signals": (
        "A command that is interrupted or terminated ends with code 130, without a traceback, and "
        "leaves results whole or absent",
        "SIGINT, SIGTERM, SIGHUP at random moments, of every command",
    ),
    "killed": (
        "A killed command leaves results whole or absent, and runs again as if nothing had been; "
        "what is resumed is equal bit by bit",
        "SIGKILL at random moments, and before each of some 20 changes of files, of every command",
    ),
    "full disk": (
        "A full disk ends a command with a line, and leaves results whole or absent",
        "a limit on the size of files, of every command",
    ),
    "lost sources": (
        "A source that is cut off, removed or damaged during a command ends it with a line that "
        "names the file, and leaves results whole or absent",
        "at random moments of every command",
    ),
    "appeared": (
        "A result that appears during a command is kept, and the command says so",
        "at random moments of every command",
    ),
    "two jobs": (
        "Of two jobs on one output one succeeds, and the result is its own",
        "pairs of processes, started within half a second",
    ),
    "hostile models": (
        "A damaged model file is an error of the model, and never more",
        "whole files with up to 8 random changes, cuts and insertions",
    ),
    "memory": (
        "A job that is given `memory=` stays below it, and without memory it ends with a sentence",
        "limits on the address space of processes",
    ),
}
_counts = Counter()


@pytest.fixture(autouse=True)
def _images_are_told_in_few_words():
    with np.printoptions(threshold=16):
        yield


@pytest.fixture
def counted():
    """Counts what a promise was tried with: ``counted("calls")``."""

    def count(promise, number=1):
        assert promise in PROMISES
        _counts[promise] += number

    return count


def pytest_terminal_summary(terminalreporter):
    """Print the table, as in docs/reliability.md."""
    if not _counts:
        return
    write = terminalreporter.write_line
    write("")
    write("| What is promised | How it is tested | Cases |")
    write("|---|---|---:|")
    for name, (promise, how) in PROMISES.items():
        if _counts[name]:
            write(f"| {promise} | {how} | {_counts[name]:,} |")
