"""The program ``napari-rednet``: the command line, and what signals do to it.

Nothing else is imported before signals are handled, since that takes a second in which users may
change their minds.
"""

from __future__ import annotations

import _thread
import signal
import sys
import time
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The exit code after Ctrl+C, and after the signals that are taken for it."""
# Seconds after which what nothing can be raised in has ended.
_MOMENT = 0.1
# Closing a terminal, and what schedulers of clusters and `kill` send before they kill.
_TAKEN_FOR_IT = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")


class _Interruption:
    """Handles signals as Ctrl+C; remembers that there was one, since not all code passes it on."""

    def __init__(self) -> None:
        self.has_come = False
        sys.unraisablehook = self._repeat
        for name in _TAKEN_FOR_IT:
            number = getattr(signal, name, None)
            # What is ignored stays ignored, as `nohup` has it.
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)

    def _stop(self, number: int, _: FrameType | None) -> NoReturn:
        self.has_come, self._number = True, number
        raise KeyboardInterrupt

    def _repeat(self, lost: sys.UnraisableHookArgs) -> None:
        """Interrupt again where nothing can be raised, as while an object is deleted."""
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            sys.__unraisablehook__(lost)
            return
        # No class of threading, which would wait, and be interrupted itself.
        _thread.start_new_thread(_interrupt_later, (self._number,))

    def end(self) -> None:
        """Heed no more signals: what is left is the end of the interpreter."""
        for name in _TAKEN_FOR_IT:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)


def _interrupt_later(number: int) -> None:
    time.sleep(_MOMENT)
    _thread.interrupt_main(signal.Signals(number))


def main() -> NoReturn:
    """Run the command line and exit.

    SIGTERM and SIGHUP end a command as Ctrl+C does: results are whole or absent, what can be
    continued is kept, and the exit code is 130. No interruption shows a traceback.
    """
    interruption = _Interruption()
    code: int | str | None = 0
    try:
        from napari_rednet.cli import app

        app(prog_name="napari-rednet")
    except SystemExit as end:
        code = end.code
    except BaseException:
        # Libraries turn interruptions of their import into errors of other kinds.
        if not interruption.has_come:
            raise
        code = INTERRUPTED
    if interruption.has_come and code not in (0, None):
        code = INTERRUPTED
    interruption.end()
    sys.exit(code)


if __name__ == "__main__":
    main()
