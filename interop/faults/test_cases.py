"""The cases and the faults fit together: `python3 -m unittest discover interop/faults`."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import cases  # noqa: E402
from injections import FAULTS  # noqa: E402


class Cases(unittest.TestCase):
    def test_a_case_names_faults_that_exist(self) -> None:
        for case in cases.ALL.values():
            self.assertLessEqual(set(case.faults), FAULTS.keys(), case.name)

    def test_every_fault_has_a_case(self) -> None:
        used = {fault for case in cases.ALL.values() for fault in case.faults}
        self.assertEqual(FAULTS.keys() - used, set())


if __name__ == "__main__":
    unittest.main()
