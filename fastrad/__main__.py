"""`python -m fastrad` is the same program as `fastrad`."""

from fastrad.cli import main

if __name__ == "__main__":
    main()
