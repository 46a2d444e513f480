"""The command `longwire`. Start reading in `main.py`."""
