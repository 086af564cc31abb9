"""``python -m wayline``: the command line, where the script is not on the path."""

from wayline.cli import main

if __name__ == "__main__":
    main()
