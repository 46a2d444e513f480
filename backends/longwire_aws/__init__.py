"""The small AWS client that the management client and the AWS stores share."""
