"""What is deployed to be measured."""
