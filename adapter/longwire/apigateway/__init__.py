"""API Gateway's side: its events, what it is answered, its management API."""
