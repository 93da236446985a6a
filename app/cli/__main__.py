"""`python -m app.cli`, the same as `dermzoo`."""

from app.cli import main

main()
