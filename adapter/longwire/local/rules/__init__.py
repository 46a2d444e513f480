"""What API Gateway decides, without any I/O. Start reading in `gateway.py`."""
