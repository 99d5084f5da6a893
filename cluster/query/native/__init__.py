"""Scalar functions computed in Python, where SQL has nothing that is exactly right."""
