"""`make faults`: see `docs/faults.md`."""

from tests.faults.suite.cli import main

if __name__ == "__main__":
    main()
