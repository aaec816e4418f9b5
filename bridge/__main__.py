"""`python -m bridge`: the same door as the `bridge` command."""

from bridge.cli import main

main()
