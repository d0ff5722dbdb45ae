"""Whether the certificates of phones and trunks still hold."""
