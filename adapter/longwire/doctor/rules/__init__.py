"""All that can be found: its code, how bad it is, why it matters, and what to write."""
