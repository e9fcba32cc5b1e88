"""The command line: parses, calls one method of Project, prints. One module per command."""
