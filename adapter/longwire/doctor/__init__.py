"""What is wrong with a stack: readers make one model of it, and checks make findings of that."""
