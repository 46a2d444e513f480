"""One event at work. Start reading in `invocation.py`."""
