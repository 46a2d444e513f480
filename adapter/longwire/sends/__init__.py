"""Sends to many: by this process (`fanout.py`), or by way of a queue (`handover.py`).

Start reading in `sending.py`.
"""
