"""`python -m dupekit`."""

from dupekit.cli.app import main

main()
