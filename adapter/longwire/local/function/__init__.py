"""How the function runs: in this process, or in processes like those of Lambda."""
