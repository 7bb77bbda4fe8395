"""``python -m fourtuple`` is the command ``fourtuple``."""

from fourtuple.cli.entry import main

if __name__ == "__main__":
    main()
