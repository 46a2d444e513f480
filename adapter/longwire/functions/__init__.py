"""Lambda functions for WebSocket events without an ASGI app. Start reading in `handler.py`."""
