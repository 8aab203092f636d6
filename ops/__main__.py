"""`python -m ops` is the `holdfast` command."""

from ops.cli import app

if __name__ == "__main__":
    app(prog_name="holdfast")
