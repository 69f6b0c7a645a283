"""`python -m supervisor` is `supervisor`."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # The working directory, which may hold a file of the name of a module that is needed here.
    sys.path.append(sys.path.pop(0))

from supervisor.cli.app import main

if __name__ == "__main__":
    main()
