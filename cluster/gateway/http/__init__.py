"""The HTTP door: requests and responses as values, routes, and the server that carries them."""
