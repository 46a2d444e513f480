"""Sends to many: here (`fanout.py`), or by way of a queue (`queued.py`). Start in `sending.py`."""
