"""What can be configured. Start reading in `settings.py`."""
