"""What our speed is compared with: the same maths without Recall."""
