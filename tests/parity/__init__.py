"""The same apps and client scripts under uvicorn and under API Gateway's rules."""
