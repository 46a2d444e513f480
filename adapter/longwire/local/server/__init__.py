"""The sockets of `longwire dev`. Start reading in `server.py`."""
