"""What the weight in the gradient of DPO is for."""
