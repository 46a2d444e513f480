"""The process: its event loops, and what Lambda does with it. Start reading in `loop.py`."""
