"""One event at work. Start reading in `invocation.py`, then `connect.py`."""
