"""Bytes that nobody meant, for everything that reads bytes of strangers: `make fuzz`."""
