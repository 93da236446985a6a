"""The standard: pure functions over DICOM data; no database, network or framework."""
