"""Where the bytes are: one contract, kept by every place that can hold files."""
