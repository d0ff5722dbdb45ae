"""Session descriptions: values, text in, text out, and the offer/answer rules for SIP; pure, without sockets or clocks."""
