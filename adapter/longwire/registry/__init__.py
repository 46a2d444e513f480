"""Who is connected, and how to reach them. Start reading in `base.py`."""
