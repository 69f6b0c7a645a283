"""`python -m supervisor` is `supervisor`."""

from supervisor.cli.app import main

if __name__ == "__main__":
    main()
