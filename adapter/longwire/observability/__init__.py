"""What is told of each event. Start reading in `event.py`."""
