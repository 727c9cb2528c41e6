"""Small worlds as pure functions on tensors."""
