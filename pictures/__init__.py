"""The README's picture is recorded: `make picture` makes a first booking, and keeps what a terminal shows of it."""
