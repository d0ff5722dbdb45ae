"""One customer's matter from the first click to the last transfer: identity, attributes, timeline, consent, legs."""
