"""`python -m worker.cli`: what the supervisor starts its parts with."""

from worker.cli.root import main

main()
