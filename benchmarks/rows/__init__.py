"""The rows of the tables, a file for each kind; what they measure runs in processes of its own."""
