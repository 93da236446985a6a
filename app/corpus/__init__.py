"""The dermatology collection: what the archive holds, where it came from and on which terms."""
