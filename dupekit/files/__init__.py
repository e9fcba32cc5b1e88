"""Files and their names: escaping, portable names, atomic writing, locks."""
