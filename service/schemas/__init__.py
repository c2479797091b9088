"""What requests may say, and what the objects of `/v1` look like."""
