"""What the operator sees: one log line a request, metrics."""
