"""The Gradio page and the socket server."""
