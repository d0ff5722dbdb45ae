"""What a browser and the server say to each other about a session; pure, without sockets or clocks."""
