"""Arrays and tensors in and out: networks, streaming inference, degradations and training.

Nothing here reads image files, knows which models exist, or imports a GUI.
"""
