"""The link between Core and Edge as both ends understand it, and which Edges are there."""
