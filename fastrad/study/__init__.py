"""The comparison of initialisations: protocol, networks, inference and report, led by `compare`."""
