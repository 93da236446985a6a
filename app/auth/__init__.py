"""Who may: tokens, what they allow, and who is asking."""
