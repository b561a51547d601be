"""Look inside a network: one looker a file, and the HTML page of their findings."""
