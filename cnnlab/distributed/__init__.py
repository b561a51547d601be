"""The processes of one run: who they are, and starting them."""
