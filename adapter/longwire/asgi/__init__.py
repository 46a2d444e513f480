"""One call of the app, with no I/O of its own. Start reading in `run.py`."""
