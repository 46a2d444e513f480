"""One conversation over several events: its journal, and whose turn it is. See `turn.py`."""
