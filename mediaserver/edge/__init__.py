"""What stands between visitors and media: relaying for browsers in closed networks."""
