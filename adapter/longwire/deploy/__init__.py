"""The files that make a stack on AWS: pure text, from a `Plan`."""
