"""What we do, whichever door it came through: store, query, retrieve, render."""
