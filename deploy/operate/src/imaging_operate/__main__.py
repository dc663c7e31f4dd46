"""`python -m imaging_operate` is `region`."""

from imaging_operate.cli import main

if __name__ == "__main__":
    main()
