"""`make live`: what is believed of AWS, measured in somebody's own account."""
