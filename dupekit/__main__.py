"""`python -m dupekit`."""

from dupekit.cli import main

main()
