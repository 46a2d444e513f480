"""Sends to many: by this process (`fan_out.py`), or by way of a queue (`hand_over.py`).

Start reading in `sending.py`.
"""
