"""Session descriptions: values, text in and out, and the offer/answer rules for SIP; pure, no sockets or clocks."""
