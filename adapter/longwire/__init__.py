"""Run an unmodified ASGI WebSocket app on AWS Lambda behind API Gateway."""

__version__ = "0.1.0"
