"""The checks: each takes the model, and gives findings. None of them reads or asks anything."""
