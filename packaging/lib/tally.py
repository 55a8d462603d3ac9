"""Runs the checks of a script, one line each, and counts them."""

import time
from typing import Callable


class Tally:
    """Counts results. A failed check does not stop the script, so that the others still run."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def check(self, check: Callable, *subjects, name: str | None = None) -> bool:
        """Run a function that is one check, and print its line; returns whether it passed."""
        name = name or check.__name__.replace("_", " ")
        began = time.monotonic()
        try:
            check(*subjects)
        except Exception as error:
            self.failed += 1
            text = " ".join(str(error).split()) or "no message"
            print(f"FAIL {name}: {type(error).__name__}: {text}", flush=True)
            return False
        self.passed += 1
        print(f"ok {name} ({time.monotonic() - began:.1f} s)", flush=True)
        return True

    def close(self) -> int:
        """Print the closing line; returns the exit status."""
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0
